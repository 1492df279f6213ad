//! Whether what searches go by is what the records say. No hash covers it, so whoever can write the file could
//! hide a record from searches and leave the chain whole.

use super::EvidenceFile;
use crate::evidence::BEGIN;
use crate::read::{number, refused};
use crate::span::{BIT, SPAN};
use astradesk_core::{Code, Error, Result};
use sqlx::{AssertSqlSafe, Row};

/// So many records are compared in one statement.
const STEP: u64 = 1 << 16;

/// Whether the columns of a record repeat its body. Of the time they have the microseconds, cut off or rounded.
const COLUMNS: &str = "(CASE WHEN typeof(body) = 'text' AND json_valid(body) THEN \
     evidence.kind IS (body ->> '$.kind') AND evidence.run IS (body ->> '$.run') AND ABS(evidence.at \
         - unixepoch(substr(body ->> '$.at', 1, 19)) * 1000000 \
         - CAST(substr(rtrim(substr(body ->> '$.at', 21), 'Z') || '000000', 1, 6) AS INTEGER)) <= 1 END) IS TRUE";

impl EvidenceFile {
    /// Compares what searches go by with the bodies of the records: their kind, run and time, and what is noted
    /// of the span that each is in. To be called when the chain itself was verified.
    ///
    /// # Errors
    /// `evidence.broken`, with the `seq` of the first record that a search may miss, or find where it does not
    /// belong; `store.unavailable`.
    pub async fn check_columns(&mut self) -> Result<()> {
        let begin = self.cut().await?.map_or(0, |cut| cut.head.seq);
        let (end, _) = self.ends().await?;
        let sql = differing(self.knows_cuts, self.knows_spans);
        for after in (begin..end).step_by(STEP as usize) {
            let up_to = end.min(after + STEP);
            let first = sqlx::query(AssertSqlSafe(sql.as_str())).bind(number(after)).bind(number(up_to));
            let first = first.fetch_optional(&mut self.connection).await.map_err(refused)?;
            if let Some(row) = first {
                let seq: i64 = row.try_get(0).map_err(refused)?;
                return Err(hidden(seq as u64, row.try_get(1).map_err(refused)?));
            }
        }
        Ok(())
    }
}

/// The first record behind one and up to another by which a search may be misled, and whether its columns are.
fn differing(knows_cuts: bool, knows_spans: bool) -> String {
    let begin = if knows_cuts { BEGIN } else { "0" };
    let (spans, noted) = if knows_spans {
        let bit = BIT.replace("{kind}", "evidence.kind");
        let noted = format!(
            "(spans.first_at <= evidence.at AND spans.last_at >= evidence.at AND (spans.kinds & ({bit})) <> 0) IS TRUE"
        );
        (format!("LEFT JOIN spans ON spans.span = evidence.seq / {SPAN}"), noted)
    } else {
        (String::new(), "1".to_owned())
    };
    format!(
        "SELECT evidence.seq, {COLUMNS} FROM evidence {spans} WHERE evidence.seq > ? AND evidence.seq <= ? \
         AND evidence.seq > {begin} AND NOT ({COLUMNS} AND {noted}) ORDER BY evidence.seq LIMIT 1"
    )
}

fn hidden(seq: u64, columns_agree: bool) -> Error {
    let message = if columns_agree {
        format!("record {seq}: what is noted of the records around it leaves it out, so searches miss it")
    } else {
        format!("record {seq}: the kind, run or time that it is searched by is not what its body says")
    };
    Error::new(Code::EvidenceBroken, message)
        .with_detail("seq", seq)
        .with_remedy("do not rely on searches of this store: export all records, and search in those")
}
