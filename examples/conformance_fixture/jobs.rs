//! Fixtures that run as tasks for clients that know the tasks extension, and at once for the others.

use std::time::Duration;

use rmcp::{
    ErrorData,
    model::{CallToolResponse, CallToolResult, ClientCapabilities, CreateTaskResult, InputRequest, JsonObject},
    task_manager::{TaskContext, TaskExit, TaskManager, TaskOptions},
};
use serde_json::Value;

use crate::{
    answers,
    lists::{made, result},
    rounds::form,
};

/// What a job does once it runs.
enum Job {
    /// Takes so long, then says this.
    Work(Duration, String),
    /// Fails as a tool does.
    Fail,
    /// Fails as a server does.
    Break,
    /// Asks these questions, all at once, and ends when they are answered.
    Ask(Vec<(&'static str, InputRequest)>),
}

/// Answers `name` if it is a job.
pub(crate) async fn call(
    tasks: &TaskManager,
    name: &str,
    arguments: &JsonObject,
    capabilities: &ClientCapabilities,
) -> Option<Result<CallToolResponse, ErrorData>> {
    let job = match name {
        "slow_compute" => {
            let seconds = arguments.get("seconds").and_then(Value::as_f64).unwrap_or_default();
            Job::Work(Duration::from_secs_f64(seconds.clamp(0.0, 120.0)), format!("computed for {seconds} s"))
        }
        "failing_job" => Job::Fail,
        "protocol_error_job" => Job::Break,
        "confirm_delete" => Job::Ask(vec![("confirm", question("Delete it?", "confirm")?)]),
        "multi_input" => Job::Ask(vec![("first", question("First?", "confirm")?), ("second", question("Second?", "confirm")?)]),
        _ => return None,
    };
    Some(if capabilities.supports_tasks() {
        Ok(started(tasks, job))
    } else {
        match job {
            Job::Work(takes, text) => {
                tokio::time::sleep(takes).await;
                result::<CallToolResult>(answers::text(&text)).map(Into::into)
            }
            _ => Err(ErrorData::missing_required_client_capability(ClientCapabilities::builder().enable_tasks().build())),
        }
    })
}

/// A task that has one thing to say.
pub(crate) fn say(tasks: &TaskManager, text: String) -> CallToolResponse {
    started(tasks, Job::Work(Duration::from_millis(200), text))
}

fn started(tasks: &TaskManager, job: Job) -> CallToolResponse {
    let options = TaskOptions::new().with_poll_interval_ms(100);
    CallToolResponse::Task(CreateTaskResult::new(tasks.spawn(options, |context| Box::pin(run(job, context)))))
}

fn question(message: &str, field: &str) -> Option<InputRequest> {
    made(form(message, field, "boolean")).ok()
}

async fn run(job: Job, context: TaskContext) -> Result<CallToolResult, TaskExit> {
    let said = |value: Value| result::<CallToolResult>(value).map_err(TaskExit::Error);
    match job {
        Job::Work(takes, text) => tokio::select! {
            () = tokio::time::sleep(takes) => said(answers::text(&text)),
            () = context.cancelled() => Err(TaskExit::Cancelled),
        },
        Job::Fail => {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let mut failed = answers::text("the job failed");
            failed["isError"] = true.into();
            said(failed)
        }
        Job::Break => Err(TaskExit::Error(ErrorData::internal_error("the job broke", None))),
        Job::Ask(questions) => {
            let asked = questions.into_iter().map(|(key, question)| context.request_input(key, question));
            let answers = futures_util::future::try_join_all(asked).await?;
            said(answers::text(&format!("answered: {}", Value::from(answers))))
        }
    }
}
