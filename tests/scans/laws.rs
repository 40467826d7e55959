//! What holds of the reference whatever is drawn, and that an answer which differs from it is found out.

use std::cell::Cell;

use rust_decimal::Decimal;
use serde_json::json;

use crate::agreement::{Answer, Page, Question, hold, own_answer, question};
use crate::draw::{Asked, Case, Drawing};
use crate::facts::Files;
use crate::kleene::{Reason, Truth};
use crate::reference::{Of, Refused, Verdict};
use crate::sources::Sources;
use crate::{files, number};

/// The cases that are drawn: `CASES` of them, or the one that `CASE` names.
pub fn cases(drawing: &Drawing) -> Vec<Case> {
    let seed = number("SEED").unwrap_or(1);
    match number("CASE") {
        Some(one) => {
            let case = drawing.case(seed, one);
            println!("{case:#?}\n{:#?}", question(&case.asked));
            vec![case]
        }
        None => (0..number("CASES").unwrap_or(60)).map(|number| drawing.case(seed, number)).collect(),
    }
}

/// All cases over the same files; the error names the case.
fn each(law: impl Fn(&Files, &Case) -> Result<(), String>) {
    let files = files();
    let drawing = Drawing::over(files);
    for case in cases(&drawing) {
        if let Err(error) = law(files, &case) {
            panic!("SEED={} CASE={}: {error}\n{:?}", number("SEED").unwrap_or(1), case.number, case.asked.condition());
        }
    }
}

/// A few of those that a case goes over: of households those below, of persons theirs.
fn some(files: &Files, case: &Case) -> Vec<String> {
    let households = some_households(files);
    match case.asked.of() {
        Of::Households => households,
        Of::Persons => {
            let members = households.iter().flat_map(|id| files.world.household(id).unwrap().members);
            members.map(|member| member.id_number).step_by(3).collect()
        }
    }
}

/// A few households of the village that is drawn most, each exception among them.
fn some_households(files: &Files) -> Vec<String> {
    files.world.village_household_ids("331122101348").take(21).collect()
}

#[test]
fn three_values_are_those_of_kleene() {
    let unknown = |name: &str| Truth::Unknown([Reason::Silent(name.to_owned())].into());
    let all = [Truth::True, Truth::False, unknown("a"), unknown("b")];
    for one in &all {
        assert_eq!(one.clone().negated().negated(), *one);
        for other in &all {
            let pair = || [one.clone(), other.clone()];
            let rank = |truth: &Truth| match truth {
                Truth::False => 0,
                Truth::Unknown(_) => 1,
                Truth::True => 2,
            };
            assert_eq!(rank(&Truth::all(pair())), rank(one).min(rank(other)));
            assert_eq!(rank(&Truth::any(pair())), rank(one).max(rank(other)));
        }
    }
    assert_eq!((Truth::all([]), Truth::any([])), (Truth::True, Truth::False));
    let Truth::Unknown(reasons) = Truth::any([unknown("a"), Truth::False, unknown("b")]) else { panic!() };
    assert_eq!(reasons.len(), 2, "both are named");
}

#[test]
fn the_opposite_of_the_opposite_is_the_same_and_swaps_who_matches() {
    each(|files, case| {
        let Some(condition) = case.asked.condition() else { return Ok(()) };
        let (not, twice) = (json!({"not": condition}), json!({"not": {"not": condition}}));
        for household in some(files, case) {
            let of = |condition| files.verdict_of(case.asked.of(), &household, Some(condition), &case.silent);
            let opposite = match of(condition) {
                Verdict::Matched => Verdict::Not,
                Verdict::Not => Verdict::Matched,
                open => open,
            };
            if of(&not) != opposite || of(&twice) != of(condition) {
                return Err(household);
            }
        }
        Ok(())
    });
}

#[test]
fn silence_makes_undetermined_what_was_known_and_never_the_opposite_of_it() {
    each(|files, case| {
        let mut known_before = 0;
        for household in some(files, case) {
            let of = |silent: &Sources| files.verdict_of(case.asked.of(), &household, case.asked.condition(), silent);
            let (before, after) = (of(&Sources::new()), of(&case.silent));
            match (&before, &after) {
                (Verdict::Matched, Verdict::Not) | (Verdict::Not, Verdict::Matched) => {
                    return Err(format!("{household}: {before:?} became {after:?} with {:?}", case.silent));
                }
                (Verdict::Matched | Verdict::Not, Verdict::Undetermined(reasons)) => {
                    // It is undetermined for nobody's sake but theirs.
                    let theirs = |reason: &Reason| matches!(reason, Reason::Silent(by) if case.silent.contains(by));
                    if !reasons.iter().any(theirs) {
                        return Err(format!("{household}: {reasons:?} with {:?}", case.silent));
                    }
                }
                _ => known_before += 1,
            }
        }
        if case.silent.is_empty() && known_before < 21 { Err("nobody was silent".to_owned()) } else { Ok(()) }
    });
}

#[test]
fn what_a_condition_does_not_read_changes_nothing() {
    each(|files, case| {
        // Where a household lies is agriculture's to say.
        let condition = json!({"registry": {"division": {"code": {"startsWith": "33"}}}});
        for household in some_households(files).iter().take(3) {
            let silent: Sources = case.silent.iter().filter(|source| *source != "agriculture").cloned().collect();
            if files.verdict(household, Some(&condition), &silent) != Verdict::Matched {
                return Err(format!("{household} with {silent:?}"));
            }
        }
        Ok(())
    });
}

#[test]
fn bounds_grow_wider_with_every_source_that_is_silent() {
    each(|files, case| {
        let Asked::Statistic(statistic) = &case.asked else { return Ok(()) };
        let whole = files.statistic(statistic, &Sources::new()).unwrap();
        let Ok(with_silence) = files.statistic(statistic, &case.silent) else { return Ok(()) };
        for (key, values) in &whole {
            // A group of which nothing is known any more is not there.
            let Some(wider) = with_silence.get(key) else { continue };
            for ((one, other), measure) in values.iter().zip(wider).zip(&statistic.measures) {
                // What was in conflict may be known again, which is no more than a second holder's silence.
                let (Some(sure), Some(same)) = (one.lower, one.upper) else { continue };
                let outside =
                    other.lower.is_some_and(|lower| lower > sure) || other.upper.is_some_and(|most| most < sure);
                if sure == same && outside {
                    return Err(format!("{key:?} {measure:?}: {one:?} is not in {other:?} with {:?}", case.silent));
                }
            }
        }
        Ok(())
    });
}

#[test]
fn the_reference_agrees_with_itself() {
    each(|files, case| hold(files, case, &|case, question| own_answer(files, case, question)));
}

/// Each way of being wrong is found in some case, and no right answer is taken for it.
#[test]
fn answers_that_differ_are_found_out() {
    let files = files();
    let drawing = Drawing::over(files);
    // Each says whether there was something to spoil.
    type Spoil = fn(&mut Answer) -> bool;
    fn page(answer: &mut Answer) -> &mut Page {
        if !matches!(answer, Answer::Scan(_)) {
            *answer = Answer::Scan(Page::default());
        }
        let Answer::Scan(page) = answer else { unreachable!() };
        page
    }
    let spoilt: [(&str, Spoil); 9] = [
        ("one is dropped", |answer| page(answer).shown.pop().is_some()),
        ("one from elsewhere", |answer| {
            let page = page(answer);
            page.shown.push("330109102001000001".to_owned());
            page.coverage.candidates > 0
        }),
        ("undetermined is taken for no", |answer| std::mem::take(&mut page(answer).coverage.undetermined) > 0),
        ("candidates outside are counted", |answer| {
            let page = page(answer);
            page.coverage.evaluated += 1;
            page.coverage.candidates > 0
        }),
        ("a silent department is not named", |answer| page(answer).coverage.missing.pop_first().is_some()),
        ("a refusal is an empty answer", |answer| {
            let refused = *answer == Answer::Refused;
            *answer = Answer::Scan(Page::default());
            refused
        }),
        ("a group is not there", |answer| match answer {
            Answer::Statistic(groups, _) => groups.pop_first().is_some(),
            _ => false,
        }),
        ("of a statistic one more is undetermined", |answer| match answer {
            Answer::Statistic(_, coverage) => {
                coverage.undetermined += 1;
                true
            }
            _ => false,
        }),
        ("a figure is too high", |answer| match answer {
            Answer::Statistic(groups, _) => groups.values_mut().flatten().any(|bounds| {
                bounds.lower = bounds.lower.map(|lower| lower + Decimal::ONE_HUNDRED);
                bounds.lower.is_some()
            }),
            _ => false,
        }),
    ];
    for (name, spoil) in spoilt {
        let found = (0..200).any(|number| {
            let case = drawing.case(1, number);
            let spoilt = Cell::new(false);
            let ask = |case: &Case, question: &Question| {
                let mut answer = own_answer(files, case, question);
                spoilt.set(spoil(&mut answer) || spoilt.get());
                answer
            };
            let held = hold(files, &case, &ask);
            spoilt.get() && held.is_err()
        });
        assert!(found, "{name}");
    }
}

/// Values go as variables, so that a document can be told by what it asks.
#[test]
fn questions_hold_their_values_in_variables() {
    each(|_, case| {
        let question = question(&case.asked);
        let declared = question.document.split_once(") {").unwrap().0;
        let names = question.variables.as_object().unwrap();
        let all = names.keys().all(|name| declared.contains(&format!("${name}: ")));
        let literal = question.document.contains('"') || question.document.contains("3311");
        if all && !literal && names.get("w") == case.asked.condition() { Ok(()) } else { Err(format!("{question:?}")) }
    });
}

/// Drawn conditions tell some from others, silence is drawn, and the same number draws the same.
#[test]
fn what_is_drawn_is_worth_asking() {
    let files = files();
    let drawing = Drawing::over(files);
    assert!(drawing.fields() > 120, "{}", drawing.fields());
    let (mut some, mut open, mut refused, mut statistics) = (0, 0, 0, 0);
    for number in 0..160 {
        let case = drawing.case(1, number);
        assert_eq!(format!("{case:?}"), format!("{:?}", drawing.case(1, number)));
        match &case.asked {
            Asked::Statistic(_) => statistics += 1,
            Asked::Scan(scan) => match files.scan(scan, &case.silent) {
                Err(Refused) => refused += 1,
                Ok(found) => {
                    some += usize::from(!found.matched.is_empty() && found.matched.len() < found.candidates);
                    open += usize::from(!found.undetermined.is_empty());
                }
            },
        }
    }
    assert!(some >= 8 && open >= 12 && refused >= 3 && statistics >= 20, "{some} {open} {refused} {statistics}");
    assert_ne!(format!("{:?}", drawing.case(1, 3)), format!("{:?}", drawing.case(2, 3)));
}
