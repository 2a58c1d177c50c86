//! A change shown the way `diff -u` shows one, with three lines around it.

/// Lines around the change.
const CONTEXT: usize = 3;

/// The difference of two texts that differ in one place.
pub(super) fn unified(path: &str, old: Option<&str>, new: &str) -> String {
    let before: Vec<&str> = old.unwrap_or_default().split_inclusive('\n').collect();
    let after: Vec<&str> = new.split_inclusive('\n').collect();
    let same_head = before.iter().zip(&after).take_while(|(a, b)| a == b).count();
    let rest = before.len().min(after.len()) - same_head;
    let same_tail = before.iter().rev().zip(after.iter().rev()).take(rest).take_while(|(a, b)| a == b).count();
    let start = same_head.saturating_sub(CONTEXT);
    let tail_shown = same_tail.min(CONTEXT);
    let (removed, added) = (&before[same_head..before.len() - same_tail], &after[same_head..after.len() - same_tail]);
    let kept = same_head - start + tail_shown;
    let from = if old.is_some() { path } else { "/dev/null" };
    // An empty side is counted from the line before it.
    let at = |lines: usize| if lines == 0 { start } else { start + 1 };
    let (old_lines, new_lines) = (kept + removed.len(), kept + added.len());
    let mut text = format!("--- {from}\n+++ {path}\n@@ -{},{old_lines} +{},{new_lines} @@\n", at(old_lines), at(new_lines));
    let tail = &before[before.len() - same_tail..][..tail_shown];
    let marked = [(' ', &before[start..same_head]), ('-', removed), ('+', added), (' ', tail)];
    for (mark, lines) in marked {
        for line in lines {
            text.push(mark);
            text.push_str(line.trim_end_matches(['\n', '\r']));
            text.push('\n');
            if !line.ends_with('\n') {
                text.push_str("\\ No newline at end of file\n");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_diff_prints() {
        let old = "1\n2\n3\n4\n5\n6\n7\n";
        let new = "1\n2\n3\n4\nx\n5\n6\n7\n";
        assert_eq!(unified("f", Some(old), new), "--- f\n+++ f\n@@ -2,6 +2,7 @@\n 2\n 3\n 4\n+x\n 5\n 6\n 7\n");
        assert_eq!(unified("f", None, "a\nb"), "--- /dev/null\n+++ f\n@@ -0,0 +1,2 @@\n+a\n+b\n\\ No newline at end of file\n");
    }
}
