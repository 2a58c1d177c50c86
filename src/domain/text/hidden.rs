//! Which characters of a text are hidden: they show nothing, but a model reads them, so they can carry any text unseen.
//!
//! Unicode calls most of them Default_Ignorable_Code_Point. Some have work to do in their place, and are shown there: joiners within emoji and within words of
//! scripts whose letters join, the selector that makes a character an emoji, and the letters of a flag. Each looks only at its neighbours in the text, which are
//! visible themselves, so a text from which hidden characters were removed has none.

use icu_properties::{
    CodePointMapData, CodePointSetData,
    props::{
        CanonicalCombiningClass, DefaultIgnorableCodePoint, Emoji, ExtendedPictographic, GeneralCategory, GeneralCategoryGroup, JoiningType,
    },
};

const ZWNJ: char = '\u{200c}';
const ZWJ: char = '\u{200d}';
/// Shows the character before it as an emoji.
const EMOJI_SELECTOR: char = '\u{fe0f}';
const KEYCAP: char = '\u{20e3}';
const BLACK_FLAG: char = '\u{1f3f4}';
const TAG_END: char = '\u{e007f}';
/// The flags of parts of a country that Unicode recommends: England, Scotland, Wales. Others would be a black flag with a text that nobody sees.
const FLAGS: [&str; 3] = ["gbeng", "gbsct", "gbwls"];
/// More marks than these above one letter are not looked through.
const MARKS_MAX: usize = 8;

/// Whether a character has no place in a text wherever it stands: controls, and what sets the direction of writing or annotates.
const fn is_control(c: char) -> bool {
    matches!(c, '\u{0}'..='\u{8}' | '\u{b}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{fff9}'..='\u{fffb}')
}

/// Whether a character is hidden unless it has work to do where it stands.
pub(super) fn may_be_hidden(c: char) -> bool {
    is_control(c) || (!c.is_ascii() && CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c))
}

/// Whether the character at the beginning of `rest` is hidden, given the text before it.
pub(super) fn is_hidden(before: &str, c: char, after: &str) -> bool {
    may_be_hidden(c)
        && match c {
            EMOJI_SELECTOR => !selects_emoji(before, after),
            ZWJ => {
                !(joins_emoji(before, after) || joins_letters(before, after) || follows_virama(before) || precedes_virama(before, after))
            }
            ZWNJ => !(joins_letters(before, after) || follows_virama(before)),
            '\u{e0030}'..='\u{e007f}' => !is_of_flag(before, c, after),
            _ => true,
        }
}

fn is_emoji(c: char) -> bool {
    CodePointSetData::new::<Emoji>().contains(c)
}

/// The selector shows a digit as an emoji only on a keycap.
fn selects_emoji(before: &str, after: &str) -> bool {
    before.chars().next_back().is_some_and(|base| is_emoji(base) && (!base.is_ascii() || after.starts_with(KEYCAP)))
}

/// UTS 51: two emoji are joined into one; the first may have a selector or a tone of skin.
fn joins_emoji(before: &str, after: &str) -> bool {
    let is_element = |c: char| is_emoji(c) && CodePointSetData::new::<ExtendedPictographic>().contains(c);
    let mut before = before.chars().rev();
    let first = match before.next() {
        Some(EMOJI_SELECTOR | '\u{1f3fb}'..='\u{1f3ff}') => before.next(),
        first => first,
    };
    first.is_some_and(is_element) && after.chars().next().is_some_and(is_element)
}

/// UAX 31, IDNA: between two letters that join; the first can have marks.
fn joins_letters(before: &str, after: &str) -> bool {
    let kind = |c: char| CodePointMapData::<JoiningType>::new().get(c);
    let is_mark = |c: &char| kind(*c) == JoiningType::Transparent && !may_be_hidden(*c);
    let joins = |c: char| matches!(kind(c), JoiningType::DualJoining | JoiningType::LeftJoining | JoiningType::RightJoining);
    let first = before.chars().rev().take(MARKS_MAX).find(|c| !is_mark(c));
    first.is_some_and(joins) && after.chars().next().is_some_and(joins)
}

fn is_virama(c: char) -> bool {
    CodePointMapData::<CanonicalCombiningClass>::new().get(c) == CanonicalCombiningClass::Virama
}

/// UAX 31, IDNA: behind the sign that takes a letter's vowel away.
fn follows_virama(before: &str) -> bool {
    before.chars().next_back().is_some_and(is_virama)
}

/// Bengali and Kannada keep a letter's form with a joiner before that sign.
fn precedes_virama(before: &str, after: &str) -> bool {
    let is_letter = |c| GeneralCategoryGroup::Letter.contains(CodePointMapData::<GeneralCategory>::new().get(c));
    before.chars().next_back().is_some_and(is_letter) && after.chars().next().is_some_and(is_virama)
}

/// UTS 51: the letters behind a black flag, up to the end of them.
fn is_of_flag(before: &str, c: char, after: &str) -> bool {
    // The longest flag has seven characters.
    let (mut letters, mut is_flag) = (Vec::new(), false);
    for earlier in before.chars().rev().take(7) {
        match earlier {
            '\u{e0030}'..='\u{e007e}' => letters.insert(0, earlier),
            BLACK_FLAG => {
                is_flag = true;
                break;
            }
            _ => break,
        }
    }
    letters.push(c);
    if c != TAG_END {
        let rest = after.chars().take(7);
        for later in rest {
            letters.push(later);
            if later == TAG_END {
                break;
            }
        }
    }
    let name: Option<String> = letters.iter().map(|letter| char::from_u32((u32::from(*letter)).wrapping_sub(0xe0000))).collect();
    is_flag && name.is_some_and(|name| name.strip_suffix('\u{7f}').is_some_and(|name| FLAGS.contains(&name)))
}
