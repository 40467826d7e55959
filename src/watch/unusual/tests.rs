use super::*;
use crate::audit::{Access, Kind, SubjectDigest};
use crate::base::code::ErrorCode;
use crate::base::fault::{Faults, SourceText};
use crate::model::config::GatewayConfig;

fn counting(rules: &str) -> Counting {
    let text = format!(
        "listen: 127.0.0.1:0\naudit: {{store: x, key: 0123456789abcdef0123456789abcdef}}\n\
         alerts:\n  night: 22:00-06:00\n  entity: House\n  rules: {{{rules}}}\n"
    );
    let mut faults = Faults::default();
    let file = SourceText::new("gateway.yaml", text);
    let config = GatewayConfig::parse(&file, std::path::Path::new("."), &|_| None, &mut faults);
    Counting::new(config.unwrap_or_else(|| panic!("{}", faults.render())).alerts)
}

/// A look of `who` at a time of 2026-03-10 (+08:00).
fn look(who: &str, time: &str, houses: &[u32], seen: bool) -> AuditRecord {
    let mut record = AuditRecord::gateway(Kind::Request, "r");
    record.time = format!("2026-03-10T{time}:00.000+08:00");
    record.who = Some(Who { id: who.to_owned(), issuer: "i".to_owned(), ..Who::default() });
    record.roles = vec!["clerk".to_owned()];
    let words = |word: &str| if seen { [word.to_owned()].into() } else { Default::default() };
    record.access = vec![Access {
        entity: "House".to_owned(),
        subjects: houses.iter().filter_map(|n| SubjectDigest::parse(&format!("{n:016x}{:048x}", 0))).collect(),
        relations: words("near"),
        read: words("1"),
        ..Access::default()
    }];
    record
}

fn refused(who: &str, time: &str) -> AuditRecord {
    let mut record = look(who, time, &[], false);
    record.access.clear();
    record.errors = [ErrorCode::Forbidden].into();
    record
}

fn rules(counting: &mut Counting, looks: &[AuditRecord]) -> Vec<(usize, String, usize)> {
    let mut found = Vec::new();
    for (at, record) in looks.iter().enumerate() {
        let seen = counting.see(i64::try_from(at).unwrap() + 1, record);
        found.extend(seen.into_iter().map(|unusual| (at, unusual.rule.to_string(), unusual.count)));
    }
    found
}

#[test]
fn different_entities_count_once_each_and_within_the_time_only() {
    let mut rule = counting("many: {when: any, count: 3, within_minutes: 60}");
    let looks = [
        look("a", "09:00", &[1], true),
        look("a", "09:05", &[1], true),
        look("b", "09:06", &[2, 3], true),
        look("a", "10:01", &[2], true),
        look("a", "10:02", &[3], true), // the first is more than an hour ago
        look("a", "10:03", &[4], true),
        look("a", "10:04", &[5, 6, 7, 8], true), // not again so soon
        look("a", "11:04", &[5, 6, 7], true),
    ];
    assert_eq!(rules(&mut rule, &looks), [(5, "many".to_owned(), 3), (7, "many".to_owned(), 3)]);
}

#[test]
fn night_and_unrelated_count_only_what_they_say() {
    let mut rule = counting(
        "night: {when: night, count: 2, within_minutes: 600}, outside: {when: unrelated, count: 2, within_minutes: 60}",
    );
    let looks = [
        look("a", "12:00", &[1, 2, 3], true),
        look("a", "22:30", &[1], true),
        look("a", "22:31", &[2], false),
        look("a", "23:30", &[3], false),
        look("a", "23:31", &[4], false),
        look("a", "23:32", &[4], true),
    ];
    assert_eq!(rules(&mut rule, &looks), [(3, "outside".to_owned(), 2), (5, "night".to_owned(), 2)]);
}

#[test]
fn a_look_that_succeeds_after_so_many_refusals_is_told_whatever_was_shown_between_them() {
    let mut rule = counting("tries: {when: after-refusals, count: 3, within_minutes: 30}");
    let no = |time: &str| refused("a", time);
    let looks = [
        no("09:00"),
        look("a", "09:01", &[1], true),
        no("09:02"),
        look("a", "09:03", &[1], true),
        look("b", "09:07", &[1], true),
        look("a", "09:04", &[9], false), // an unrelated one is refused too
        look("a", "09:08", &[1], true),
        no("09:09"), // not again so soon
        look("a", "09:10", &[1], true),
    ];
    assert_eq!(rules(&mut rule, &looks), [(6, "tries".to_owned(), 3)]);
}

#[test]
fn what_was_asked_for_in_vain_counts_also_beside_what_was_shown() {
    let mut rule = counting("tries: {when: after-refusals, count: 2, within_minutes: 30}");
    let both = |time: &str| {
        let mut record = look("a", time, &[1], true);
        record.access.extend(look("a", time, &[9], false).access);
        record
    };
    assert_eq!(rules(&mut rule, &[both("09:00"), both("09:01")]), [(1, "tries".to_owned(), 2)]);
}

#[test]
fn of_many_refusals_the_newest_count() {
    let mut rule = counting("tries: {when: after-refusals, count: 2, within_minutes: 30}");
    let no = |time: &str| refused("a", time);
    let looks = [no("09:00"), no("09:01"), no("09:20"), no("09:25"), look("a", "09:40", &[1], true)];
    assert_eq!(rules(&mut rule, &looks), [(4, "tries".to_owned(), 2)]);
    let mut rule = counting("tries: {when: after-refusals, count: 2, within_minutes: 30}");
    let looks = [no("09:00"), no("09:20"), look("a", "09:40", &[1], true), look("b", "09:41", &[1], true)];
    assert_eq!(rules(&mut rule, &looks), [], "within the time only");
}

#[test]
fn excepted_roles_other_entities_visitors_and_other_kinds_are_not_counted() {
    let mut rule = counting("many: {when: any, count: 1, within_minutes: 60, except_roles: [robot]}");
    let mut robot = look("a", "09:00", &[1], true);
    robot.roles = vec!["robot".to_owned()];
    let mut other = look("a", "09:00", &[1], true);
    other.access[0].entity = "Dog".to_owned();
    let mut visitor = look("a", "09:00", &[1], true);
    visitor.who = None;
    let mut admin = look("a", "09:00", &[1], true);
    admin.kind = Kind::Admin;
    assert_eq!(rules(&mut rule, &[robot, other, visitor, admin]), []);
    assert_eq!(rules(&mut rule, &[look("a", "09:01", &[1], true)]).len(), 1);
}

#[test]
fn an_alert_that_is_known_does_not_hold_again() {
    let who = Who { id: "a".to_owned(), issuer: "i".to_owned(), ..Who::default() };
    let mut rule = counting("many: {when: any, count: 1, within_minutes: 60}");
    rule.known("many", &who, "2026-03-10T09:00:00+08:00".parse().unwrap());
    rule.known("gone", &who, "2026-03-10T09:00:00+08:00".parse().unwrap());
    let looks = [look("a", "08:59", &[1], true), look("a", "09:59", &[1], true), look("a", "10:00", &[1], true)];
    assert_eq!(rules(&mut rule, &looks), [(2, "many".to_owned(), 1)]);
}

#[test]
fn memory_is_bounded_and_who_was_seen_last_is_kept() {
    let mut rule = counting("many: {when: any, count: 100, within_minutes: 60}");
    rule.counted_max = 500;
    for n in 0..60_u32 {
        let houses: Vec<u32> = (0..50).collect();
        rule.see(i64::from(n), &look(&format!("p{n}"), &format!("09:{n:02}"), &houses, true));
        assert!(rule.counted <= 500 + 50, "{}", rule.counted);
        let counted: usize = rule.principals.values().flat_map(|one| &one.rules).map(|one| one.what.len()).sum();
        assert_eq!(counted, rule.counted, "what is counted is what is there");
    }
    assert!(rule.principals.contains_key(&("i".to_owned(), "p59".to_owned())));
    assert!(!rule.principals.contains_key(&("i".to_owned(), "p0".to_owned())));
}
