//! The types of scans as SDL, described in English and in Chinese as the rest of the contract.

use std::sync::Arc;

use apollo_compiler::Schema;
use apollo_compiler::schema::FieldDefinition;

use super::Marked;
use super::types::{FieldsOf, Input, Made, STATES, Scanned, filter_of};

/// What stands for the name of the entity below.
const OF: &str = "§";

const ORDER: &str = r#"
"""How `§` are sorted. § 的排序方式。"""
input §Order {
  """By what. 排序字段。"""
  by: §Sortable!
  """The greatest first. 降序。"""
  descending: Boolean = false
}
"#;

const GROUP: &str = r#"
"""What `§` are grouped by. § 的分组方式。"""
input §Group {
  """By what. 分组字段。"""
  by: §Groupable!
  """Of a division's code, so many digits. 行政区划代码取前若干位。"""
  digits: Int
  """Of a date, this period. 日期所取的期间。"""
  dates: ScanPeriod
}
"#;

const STATS: &str = r#"
"""Statistics over `§`. § 的统计结果。"""
type §Stats {
  """The groups; one where nothing is grouped by. 各组；不分组时为一组。"""
  groups: [§StatsGroup!]!
  """What the statistics rest on. 统计所依据的覆盖情况。"""
  coverage: ScanCoverage!
  """Groups that are too small to be shown. 因过小而不予展示的组数。"""
  suppressed: Int!
  """One may count in several groups. 同一对象可能计入多个组。"""
  overlapping: Boolean!
  """Give it as `resume` to go on; null: it is done. 作为 `resume` 传入即可继续；为空表示已完成。"""
  resume: ScanResume
}

"""One group. 一个组。"""
type §StatsGroup {
  """What the group has in common, in the order of `groupBy`. 本组的分组值，顺序同 `groupBy`。"""
  key: [ScanGroupKey!]!
  """The group is too small: there are no values. 本组过小，不展示数值。"""
  suppressed: Boolean!
  """In the order of `measures`. 顺序同 `measures`。"""
  values: [ScanMeasured!]!
}

"""How far statistics over `§` have come. § 统计的进展。"""
type §StatsFrame {
  """How far. 进度。"""
  progress: ScanProgress!
  """The statistics, in the last frame. 统计结果，仅末帧给出。"""
  stats: §Stats
}
"#;

const SCAN_FRAME: &str = r#"
"""How far a scan of `§` has come. § 扫描的进展。"""
type §ScanFrame {
  """How far. 进度。"""
  progress: ScanProgress!
  """What was found since the frame before, and what that rests on; null in a frame that only ends the stream. 上一帧以来找到的结果及其覆盖情况；仅用于结束的帧为空。"""
  page: @CONNECTION
}
"#;

const ADDED: &str = r#"
extend type § {
  """What the scan rests on; asking for it makes the listing a scan. 扫描所依据的覆盖情况；查询此字段即为扫描。"""
  coverage: ScanCoverage
}
"#;

const ADDED_TO_EDGE: &str = r#"
extend type § {
  """Why it is undetermined; null where it matches. 未能判定的原因；已匹配者为空。"""
  missing: [ScanMissing!]
}
"#;

const COMMON: &str = r#"
"""What a scan or a statistic goes on with; opaque, at most 65536 characters. 用以继续扫描或统计的不透明标记，最长 65536 字符。"""
scalar ScanResume

"""Which of those that were looked at. 取哪一类结果。"""
enum ScanVerdict {
  """The condition holds. 条件成立。"""
  MATCHED
  """It is not known whether the condition holds. 条件是否成立未能判定。"""
  UNDETERMINED
}

"""What a scan or a statistic rests on. 扫描或统计所依据的覆盖情况。"""
type ScanCoverage {
  """Looked at, in the divisions of the caller. 调用者辖区内纳入扫描的数量。"""
  candidates: Int!
  """How many there are in all, as the source that lists them tells; null where that is not known. 名册数据源给出的总数；未知时为空。"""
  total: Int
  """Decided or undetermined. 已处理的数量。"""
  evaluated: Int!
  """Of which the condition holds; null where a statistic keeps back groups that would be known from it. 条件成立的数量；统计中据此可推知被隐去的组时为空。"""
  matched: Int
  """Of which it is not known; null where there are some, and a statistic keeps back groups. 未能判定的数量；统计隐去某些组时，若有未判定者则为空。"""
  undetermined: Int
  """All candidates were looked at, and none is undetermined. 已全部扫描且均已判定。"""
  whole: Boolean!
  """Why it ended. 结束原因。"""
  ended: ScanEnd
  """What is missing, by department and reason. 缺失情况，按部门与原因汇总。"""
  missing: [ScanMissing!]!
  """In which order departments are asked. 向各部门查询的顺序。"""
  plan: [ScanStage!]!
}

"""What a department did not tell. 某部门未能提供的情况。"""
type ScanMissing {
  """Id of the source; null where two disagree. 数据源标识；部门之间不一致时为空。"""
  source: String
  """Name of the department. 部门名称。"""
  sourceTitle: String
  """State of what is missing. 缺失项的状态。"""
  state: @STATE!
  """Why it is missing. 缺失原因代码。"""
  code: @CODE!
  """How many are concerned; null where that is not known. 涉及的数量；未知时为空。"""
  count: Int
  """Fields that are missing. 缺失的字段。"""
  fields: [String!]!
  """What to do about it. 处理建议。"""
  message: String
}

"""Why a scan ended. 扫描结束原因。"""
enum ScanEnd {
  """All was looked at. 已全部扫描。"""
  LISTED
  """The page is full. 本页已满。"""
  PAGE_FULL
  """Its time was over. 时间用尽。"""
  TIME
  """Its calls were over. 调用次数用尽。"""
  CALLS
  """The caller went away. 调用者已取消。"""
  CANCELLED
  """It could not go on. 无法继续。"""
  STOPPED
}

"""One step of a scan. 扫描的一个步骤。"""
type ScanStage {
  """Ids of the sources that are asked; none where it is known already. 所查询的数据源标识；已知的不再查询。"""
  sources: [String!]!
  """For these fields. 所查询的字段。"""
  fields: [String!]!
  """Calls as estimated. 预计调用次数。"""
  estimatedCalls: Int
  """Calls that were made. 实际调用次数。"""
  calls: Int!
  """Milliseconds that so many take at least by what the sources allow a second; 0 where they say nothing. 按数据源自身限速，预计至少需要的毫秒数。"""
  estimatedMs: Int
  """Milliseconds that it took. 实际毫秒数。"""
  ms: Int!
  """Of how many it was asked. 被查询的数量。"""
  asked: Int!
  """How many are left after it. 本步骤后剩余的数量。"""
  left: Int!
}

"""How far a scan has come. 扫描进度。"""
type ScanProgress {
  """Looked at so far. 已纳入的数量。"""
  candidates: Int!
  """How many there are in all, as the source that lists them tells; null where that is not known. 名册数据源给出的总数；未知时为空。"""
  total: Int
  """Decided or undetermined. 已处理的数量。"""
  evaluated: Int!
  """Of which the condition holds; null where a statistic keeps back what would be known from it, and before its last frame. 条件成立的数量；统计末帧之前，及据此可推知被隐去的组时为空。"""
  matched: Int
  """Of which it is not known; null where `matched` may be. 未能判定的数量；`matched` 可能为空之处亦为空。"""
  undetermined: Int
  """Calls to departments; null where `matched` is. 调用部门的次数；`matched` 为空时亦为空。"""
  calls: Int
  """Milliseconds so far. 已用毫秒数。"""
  elapsedMs: Int!
  """Give it as `after` (of a scan) or as `resume` (of a statistic) to go on behind this frame; null: nothing is left. 作为 `after`（扫描）或 `resume`（统计）传入即可从本帧之后继续；为空表示已完成。"""
  resume: ScanResume
  """Nothing comes after this frame. 此后不再有帧。"""
  done: Boolean!
  """Why it ended; null before the end. 结束原因；未结束时为空。"""
  ended: ScanEnd
}
"#;

const COMMON_STATS: &str = r#"
"""The period of a date that is grouped by. 日期分组的期间。"""
enum ScanPeriod {
  """By year. 按年。"""
  YEAR
  """By month. 按月。"""
  MONTH
}

"""What a group has in common. 本组的一个分组值。"""
type ScanGroupKey {
  """The field. 字段。"""
  field: String!
  """Its value. 值。"""
  value: String
  """What the value is called in Chinese. 值的中文名称。"""
  zh: String
  """Whether there is a value, and if not, why. 有无值，无值的原因。"""
  state: @STATE!
}

"""What a measure came to. 一项统计值。"""
type ScanMeasured {
  """The measure. 统计项。"""
  measure: String!
  """The value, where all is known. 值；仅在全部已知时给出。"""
  value: Decimal
  """At least this. 下限。"""
  lower: Decimal
  """At most this. 上限。"""
  upper: Decimal
}
"#;

/// Arguments that a stream does not have: what is told as it is found comes in no order.
pub(super) const ONLY_OF_QUERIES: &str = "orderBy";

/// The arguments of a listing that is scanned, beside its own.
fn scan_arguments(of: &Scanned) -> String {
    let mut out =
        format!("\n\"\"\"Only those of which this holds. 只取满足此条件者。\"\"\"\nwhere: {}", filter_of(&of.name));
    if !of.sortable.values.is_empty() {
        let name = &of.name;
        out.push_str(&format!(
            "\n\"\"\"In this order; there is no `after` then. 按此排序，此时不可用 `after`。\"\"\"\norderBy: [{name}Order!]"
        ));
    }
    out.push_str(
        "\n\"\"\"Only these, by their keys, in place of the listing. 只在这些主键中查找，不再列举。\"\"\"\namong: [ID!]\
         \n\"\"\"Which of them; absent: MATCHED. 取哪一类结果，缺省为 MATCHED。\"\"\"\nverdict: ScanVerdict",
    );
    out
}

/// The arguments of a query of statistics, beside those of the listing.
fn stats_arguments(of: &Scanned) -> String {
    let mut out =
        format!("\n\"\"\"Only those of which this holds. 只统计满足此条件者。\"\"\"\nwhere: {}", filter_of(&of.name));
    if !of.groupable.values.is_empty() {
        out.push_str(&format!("\n\"\"\"One group for each value. 按值分组。\"\"\"\ngroupBy: [{}Group!]", of.name));
    }
    out.push_str(&format!("\n\"\"\"What is counted. 统计项。\"\"\"\nmeasures: [{}Measure!]!", of.name));
    out.push_str("\n\"\"\"From where an earlier one broke off. 从此处继续。\"\"\"\nresume: ScanResume");
    out
}

fn measure(of: &Scanned) -> String {
    let name = &of.name;
    let mut out = format!(
        "\n\"\"\"One measure: exactly one member. 一项统计，恰好给出一个成员。\"\"\"\ninput {name}Measure {{\n\
         \"\"\"How many. 数量。\"\"\"\ncount: Boolean"
    );
    if !of.numbers.values.is_empty() {
        for (measure, said) in [
            ("sum", "Sum. 合计。"),
            ("average", "Average. 平均。"),
            ("min", "Least. 最小。"),
            ("max", "Greatest. 最大。"),
        ] {
            out.push_str(&format!("\n\"\"\"{said}\"\"\"\n{measure}: {name}Number"));
        }
    }
    out + "\n}\n"
}

/// The arguments of the listing as they are written, but for those that `leave_out`.
fn own_arguments(field: &FieldDefinition, leave_out: &[&str]) -> String {
    let kept = field.arguments.iter().filter(|argument| !leave_out.contains(&argument.name.as_str()));
    kept.map(|argument| format!("\n{argument}")).collect()
}

/// All that is added to the contract as text. The arguments of the listings stand at the subscriptions of the same name; those
/// that only a query has are taken off there once the listings have them ([`ONLY_OF_QUERIES`]).
pub(super) fn sdl(schema: &Schema, made: &Made, scans: &[(&Marked, &Scanned, &FieldDefinition)]) -> String {
    let mut out = String::new();
    for input in &made.inputs {
        out.push_str(&of_input(input));
    }
    for of in &made.scanned {
        of_entity(&mut out, of, scans);
    }
    let with_stats = scans.iter().any(|(scan, ..)| scan.stats.is_some());
    out.push_str(COMMON);
    if with_stats {
        out.push_str(COMMON_STATS);
    }
    // A contract without items has no states, and one without codes none either: they are texts then.
    let named = |name: &'static str| if schema.get_enum(name).is_some() { name } else { "String" };
    let mut out = out.replace("@STATE", named(STATES)).replace("@CODE", named("ErrorCode"));
    added(&mut out, scans);
    roots(&mut out, schema, scans);
    for (name, said) in [
        ("Decimal", "An exact decimal number, as text. 精确小数，以文本表示。"),
        ("Date", "A date by ISO 8601, which may be partial. ISO 8601 日期，可不完整。"),
    ] {
        if !schema.types.contains_key(name) {
            out.push_str(&format!("\n\"\"\"{said}\"\"\"\nscalar {name}\n"));
        }
    }
    out
}

fn of_input(input: &Input) -> String {
    let mut out = format!("\n{}input {} {{", described(&input.description), input.name);
    for member in &input.members {
        out.push_str(&format!("\n{}{}: {}", described(&member.description), member.name, member.ty));
    }
    out + "\n}\n"
}

fn of_entity(out: &mut String, of: &Scanned, scans: &[(&Marked, &Scanned, &FieldDefinition)]) {
    let mine = || scans.iter().filter(|(_, scanned, _)| scanned.entity == of.entity);
    let mut parts = Vec::new();
    if !of.sortable.values.is_empty() {
        out.push_str(&of_fields(&of.sortable));
        parts.push(ORDER);
    }
    if mine().any(|(scan, ..)| scan.stats.is_some()) {
        if !of.groupable.values.is_empty() {
            out.push_str(&of_fields(&of.groupable));
            parts.push(GROUP);
        }
        if !of.numbers.values.is_empty() {
            out.push_str(&of_fields(&of.numbers));
        }
        out.push_str(&measure(of));
        parts.push(STATS);
    }
    out.push_str(&parts.concat().replace(OF, &of.name));
}

fn of_fields(fields: &FieldsOf) -> String {
    let mut out = format!("\n{}enum {} {{", described(&fields.description), fields.name);
    for (value, description, _) in &fields.values {
        out.push_str(&format!("\n{}{value}", described(description)));
    }
    out + "\n}\n"
}

/// Fields of connections and edges, and what frames hold: once for each connection.
fn added(out: &mut String, scans: &[(&Marked, &Scanned, &FieldDefinition)]) {
    let mut seen: Vec<&Arc<str>> = Vec::new();
    for (scan, ..) in scans {
        if !seen.contains(&&scan.connection) {
            seen.push(&scan.connection);
            out.push_str(&ADDED.replace(OF, &scan.connection));
            let frame = SCAN_FRAME.replace(OF, frame_of(&scan.connection));
            out.push_str(&frame.replace("@CONNECTION", &scan.connection));
        }
        if !seen.contains(&&scan.edge) {
            seen.push(&scan.edge);
            out.push_str(&ADDED_TO_EDGE.replace(OF, &scan.edge));
        }
    }
}

fn frame_of(connection: &str) -> &str {
    connection.strip_suffix("Connection").unwrap_or(connection)
}

/// The queries of statistics, and the subscriptions.
fn roots(out: &mut String, schema: &Schema, scans: &[(&Marked, &Scanned, &FieldDefinition)]) {
    let mut subscriptions = String::new();
    let query = schema.schema_definition.query.as_ref().map_or("Query", |name| name.as_str());
    for (scan, of, field) in scans {
        subscriptions.push_str(&format!(
            "\n\"\"\"The scan of `{}`, with its progress. 查询 {} 的扫描，逐帧报告进展。\"\"\"\n{}({}{}\n): {}ScanFrame",
            field.name,
            field.name,
            field.name,
            own_arguments(field, &[]),
            scan_arguments(of),
            frame_of(&scan.connection)
        ));
        let Some(stats) = &scan.stats else { continue };
        let arguments = own_arguments(field, &["first", "after"]) + &stats_arguments(of);
        out.push_str(&format!(
            "\nextend type {query} {{\n\"\"\"Statistics over what `{}` lists. 对查询 {} 所列对象的统计。\"\"\"\n{stats}({arguments}\n): {}Stats\n}}\n",
            field.name, field.name, of.name
        ));
        subscriptions.push_str(&format!(
            "\n\"\"\"The statistics `{stats}`, with their progress. 统计 {stats}，逐帧报告进展。\"\"\"\n{stats}({arguments}\n): {}StatsFrame",
            of.name
        ));
    }
    out.push_str(&format!(
        "\n\"\"\"Scans that report how far they have come. 逐帧报告进展的扫描。\"\"\"\ntype Subscription {{{subscriptions}\n}}\n"
    ));
}

fn described(text: &str) -> String {
    format!("\"\"\"{}\"\"\"\n", text.replace("\"\"\"", "\\\"\"\""))
}
