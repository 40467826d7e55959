//! Money is counted in fen; this is how it is written in yuan.

/// `123450` as `1234.50`.
pub fn yuan(fen: i64) -> String {
    format!("{}{}.{:02}", if fen < 0 { "-" } else { "" }, fen.abs() / 100, fen.abs() % 100)
}
