//! What is asked, of which files, and who can answer it.

use crate::gateway::Files;
use crate::upstream::ITEMS;

pub struct Workload {
    pub name: &'static str,
    /// The same for programs written by hand: they share nothing between requests.
    pub floor: &'static str,
    pub files: Files,
    pub connections: usize,
    /// What an answer takes of the departments where nothing is shared.
    pub calls: u64,
    /// Milliseconds that each answer of the departments takes, unless `--delay` says otherwise.
    pub delay: u64,
    /// Whether `plain` and Tailcall know it.
    pub beside: bool,
    pub body: String,
}

pub const NAMES: [&str; 7] = ["portrait", "gathered", "list", "posts", "same", "wide", "recognition"];

impl Workload {
    pub fn of(name: &str) -> Option<Self> {
        let departments =
            |to: usize, fields: &str| (1..=to).map(|n| format!("dept{n} {{ {fields} }} ")).collect::<String>();
        let all = "status amount level officer updatedAt";
        let body = |query: String| serde_json::json!({ "query": query }).to_string();
        // `@ID@` becomes another household's id each time.
        let of_one = |query: String| serde_json::json!({"query": query, "variables": {"id": "@ID@"}}).to_string();
        let posts = || body("{ posts { id userId title user { id name email } } }".to_owned());
        let workload = |name, connections, calls, body| Self {
            name,
            floor: name,
            files: Files::Departments,
            connections,
            calls,
            delay: 0,
            beside: true,
            body,
        };
        Some(match name {
            "portrait" | "gathered" => {
                let query = format!("query ($id: Int!) {{ household(id: $id) {{ id {}}} }}", departments(12, all));
                let portrait = Self { files: Files::Singly, ..workload("portrait", 32, 12, of_one(query)) };
                match name {
                    "portrait" => portrait,
                    _ => Self { name: "gathered", files: Files::Gathering, beside: false, ..portrait },
                }
            }
            "list" => workload("list", 16, 4, body(format!("{{ households {{ id name {}}} }}", departments(3, all)))),
            "posts" => workload("posts", 32, 11, posts()),
            "same" => Self { floor: "posts", files: Files::Sharing, ..workload("same", 32, 11, posts()) },
            "wide" => {
                let items: String = (1..=ITEMS).map(|n| format!(" item{n}")).collect();
                let body = body(format!("{{ households {{ id{items} }} }}"));
                Self { files: Files::Wide, beside: false, ..workload("wide", 2, 7, body) }
            }
            "recognition" => {
                let query = format!(
                    "query ($id: Int!) {{ household(id: $id) {{ id {}deposits {{ hasAccount overThreshold banks \
                     {{ bank hasAccount overThreshold }} }} }} }}",
                    departments(11, "status amount")
                );
                let workload = workload("recognition", 1, 84, of_one(query));
                Self { files: Files::Recognition, delay: 20, beside: false, ..workload }
            }
            _ => return None,
        })
    }
}
