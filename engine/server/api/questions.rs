//! Questions that runs wait for, and their answers.

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::server::App;
use crate::server::api::{Answer, Page};
use crate::server::caller::{AtLeast, Operator, Viewer};
use crate::server::extract::{Json, Path};
use crate::server::guard::Note;
use crate::server::problem::{Failure, Problem};
use crate::service::ServiceError;

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
) -> Result<(StatusCode, Extension<Note>), Failure> {
    let answered = app.look(move |desk| {
        let open = desk.read::<_, ServiceError>(|reader| Ok(reader.questions()?))?;
        let run = open.iter().find(|one| one.id == question).map(|one| one.run);
        let Some(run) = run else { return Ok(None) };
        Ok(desk.reply(question, reply.yes, &caller.name())?.then_some(run))
    });
    let run = answered.await?.ok_or_else(|| Failure::conflict("the question is not open any more"))?;
    let about = format!("questions/{question} of run {run}: {}", if reply.yes { "yes" } else { "no" });
    Ok((StatusCode::NO_CONTENT, Extension(Note { about: Some(about), ..Note::default() })))
}
