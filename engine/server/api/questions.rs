//! Questions that runs wait for, and their answers.

use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::server::App;
use crate::server::api::{Answer, Page};
use crate::server::caller::{AtLeast, Operator, Viewer};
use crate::server::extract::{Json, Path};
use crate::server::problem::{Failure, Problem};

/// A question that a run waits for.
#[derive(Debug, serde::Serialize, ToSchema)]
pub(crate) struct Question {
    /// Its number.
    question: i64,
    /// The run.
    run: i64,
    /// What is asked.
    text: String,
    /// When: RFC 3339.
    asked: String,
}

/// List open questions, oldest first
#[utoipa::path(get, path = "/api/v1/questions", tag = "questions",
    responses((status = 200, body = Page<Question>), (status = "default", body = Problem)))]
pub(crate) async fn list(_: Viewer, State(app): State<App>) -> Answer<Page<Question>> {
    let open = app.look(|desk| desk.read(|reader| Ok(reader.questions()?))).await?;
    let shown = |one: crate::store::Question| Question {
        question: one.id,
        run: one.run.0,
        text: one.text,
        asked: jiff::Timestamp::from_microsecond(one.asked_at).map(|at| at.to_string()).unwrap_or_default(),
    };
    Ok(Json(Page { items: open.into_iter().map(shown).collect(), next: None }))
}

/// An answer.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reply {
    /// Yes or no.
    yes: bool,
}

/// Answer a question
#[utoipa::path(post, path = "/api/v1/questions/{question}", tag = "questions", request_body = Reply,
    params(("question" = i64, Path, description = "its number")),
    responses((status = 204), (status = "default", body = Problem)))]
pub(crate) async fn answer(
    AtLeast(caller): Operator,
    State(app): State<App>,
    Path(question): Path<i64>,
    Json(reply): Json<Reply>,
) -> Result<StatusCode, Failure> {
    let answered = app.look(move |desk| desk.reply(question, reply.yes, &caller.name())).await?;
    if !answered {
        return Err(Failure::conflict("the question is not open any more"));
    }
    Ok(StatusCode::NO_CONTENT)
}
