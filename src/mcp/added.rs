//! Arguments that clients add to a call by themselves, which mean nothing to a server. A model cannot leave them out, so they must not stop a call that is paid.
//!
//! Names that begin with `_` are always the client's: `_meta` belongs to the request and not into its arguments; Moltis adds `_session_key`, `_conn_id` and
//! `_accept_language` (moltis-org/moltis#182), others add more of the kind (cyanheads/mcp-ts-core#453).

/// The name, and where somebody met it.
const ADDED: [(&str, &str); 14] = [
    // Cline tells its models to report their progress with every call.
    ("task_progress", "cline/cline#8256, #9684, #10426"),
    // n8n passes on what came into its AI Agent: the id of the call, and what its chat trigger sent.
    ("toolCallId", "n8n-io/n8n#21500, #21716"),
    ("sessionId", "n8n-io/n8n#22787"),
    ("action", "n8n-io/n8n#22787"),
    ("chatInput", "n8n-io/n8n#22787"),
    // Gemini CLI and Antigravity say which calls may run at the same time.
    ("wait_for_previous", "MemPalace/mempalace#816"),
    ("waitForPreviousTools", "the tools of Antigravity"),
    // What a call is for, in words.
    ("tool_call_description", "cyanheads/mcp-ts-core#453"),
    // What Cursor puts where a tool needs no argument.
    ("random_string", "the description \"Dummy parameter for no-parameter tools\" of many servers' schemas"),
    // The ids of n8n as clients in Python and other chat frontends write them.
    ("tool_call_id", "as toolCallId"),
    ("session_id", "as sessionId"),
    ("chat_input", "as chatInput"),
    ("chatId", "as sessionId"),
    ("chat_id", "as sessionId"),
];

/// Whether clients add an argument of this name.
pub(super) fn is_added(name: &str) -> bool {
    name.starts_with('_') || ADDED.iter().any(|(added, _)| *added == name)
}
