//! What the questions of `docs/questions.md` mean, said over portraits, and not as the documents say it.

use std::collections::BTreeMap;

use departments::expected::at;
use departments::world::{Date, Exception, Household};
use rust_decimal::Decimal;
use serde_json::Value;

/// A figure by what its group has in common; none where the group has nothing to tell.
pub type Figures = BTreeMap<Vec<Option<String>>, Vec<Option<Decimal>>>;

pub enum Meaning {
    /// Who is found.
    Of(fn(&Value, &Household) -> bool),
    /// What is counted.
    Figures(fn(&[&Value], Date) -> Figures),
}

fn text<'p>(portrait: &'p Value, path: &str) -> &'p str {
    at(portrait, path).as_str().unwrap_or_default()
}

fn any(portrait: &Value, path: &str, is_so: impl FnMut(&Value) -> bool) -> bool {
    at(portrait, path).as_array().is_some_and(|list| list.iter().any(is_so))
}

/// Days from a date to today; below zero it is to come.
fn ago(date: &Value, today: Date) -> Option<i64> {
    Some(today.days() - Date::parse(date.as_str()?)?.days())
}

fn amount(value: &Value) -> Decimal {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn gets_dibao(portrait: &Value) -> bool {
    text(portrait, "assistance.dibaoStatus") == "RECEIVING"
}

fn is_red(portrait: &Value) -> bool {
    text(portrait, "risk.warning.level") == "RED"
}

/// The days since somebody came.
fn last_visit(portrait: &Value, today: Date) -> Option<i64> {
    at(portrait, "help.visits").as_array()?.iter().filter_map(|visit| ago(&visit["on"], today)).min()
}

fn owns_too_much(portrait: &Value, today: Date) -> bool {
    let mandate = ago(at(portrait, "assets.deposits.mandate.expiresOn"), today);
    let over = mandate.is_some_and(|days| days <= 0) && at(portrait, "assets.deposits.overThreshold") == true;
    let car = any(portrait, "assets.vehicles", |vehicle| vehicle["kind"] == "CAR" || vehicle["kind"] == "BUS");
    gets_dibao(portrait) && (over || car || any(portrait, "assets.businesses", |business| business["active"] == true))
}

/// Counts portraits by what they have in common; one may be in several groups.
fn counted(portraits: &[&Value], keys: impl Fn(&Value) -> Vec<Vec<Option<String>>>) -> Figures {
    let mut counts: BTreeMap<Vec<Option<String>>, Vec<Option<Decimal>>> = BTreeMap::new();
    for portrait in portraits {
        for key in keys(portrait) {
            let count = counts.entry(key).or_insert_with(|| vec![Some(Decimal::ZERO)]);
            count[0] = count[0].map(|count| count + Decimal::ONE);
        }
    }
    counts
}

/// With the average income of each group.
fn with_income(portraits: &[&Value], keys: impl Fn(&Value) -> Vec<Vec<Option<String>>>) -> Figures {
    let mut figures = counted(portraits, &keys);
    for (key, values) in &mut figures {
        let of_group = portraits.iter().filter(|portrait| keys(portrait).contains(key));
        let incomes: Vec<Decimal> =
            of_group.filter_map(|portrait| at(portrait, "income.perCapita").as_str()?.parse().ok()).collect();
        let sum: Decimal = incomes.iter().sum();
        values.push((!incomes.is_empty()).then(|| sum / Decimal::from(incomes.len())));
    }
    figures
}

fn town(portrait: &Value) -> Option<String> {
    text(portrait, "registry.division.code").get(..9).map(str::to_owned)
}

fn named(portrait: &Value, path: &str) -> Option<String> {
    at(portrait, path).as_str().map(str::to_owned)
}

/// By the name of the document.
pub fn of(document: &str) -> Meaning {
    use Meaning::{Figures, Of};
    match document {
        "DibaoWithAssets" | "DibaoWithAssetsUndetermined" => Of(|portrait, home| owns_too_much(portrait, home.today)),
        // A portrait is what the first holder says: that two disagree is where the generator has them disagree.
        "DibaoDisagrees" | "CategoryDisagrees" => Of(|_, home| home.exception == Some(Exception::DibaoDisagrees)),
        "EntitledNotPaid" => {
            Of(|_, home| matches!(home.exception, Some(Exception::PaymentUnknown | Exception::PaymentDiffers)))
        }
        "DeadAndPaid" => Of(|portrait, home| {
            let died = |member: &Value| {
                member["lifeStatus"] == "DECEASED" && ago(&member["deathOn"], home.today).is_some_and(|days| days >= 30)
            };
            let for_age = |payment: &Value| {
                payment["programme"] == "高龄津贴" && ago(&payment["paidOn"], home.today).is_some_and(|days| days < 100)
            };
            any(portrait, "identity.members", died) && any(portrait, "funds.disbursements", for_age)
        }),
        "PostAndPension" => Of(|portrait, home| {
            let holds = |post: &Value| ago(&post["until"], home.today).is_some_and(|days| days <= 0);
            let draws = |pension: &Value| pension["kind"] == "企业职工基本养老保险";
            any(portrait, "employment.publicPosts", holds) && any(portrait, "employment.pensions", draws)
        }),
        "RedWithoutVisit" => Of(|portrait, home| {
            let this_month =
                |visit: &Value| visit["on"].as_str().is_some_and(|on| on >= first_of_month(home.today).as_str());
            is_red(portrait) && !any(portrait, "help.visits", this_month)
        }),
        "DibaoWithoutContact" => {
            Of(|portrait, home| gets_dibao(portrait) && last_visit(portrait, home.today).is_none_or(|days| days >= 90))
        }
        "InNameOnly" => Of(|portrait, home| {
            !at(portrait, "help.cadre").is_null() && last_visit(portrait, home.today).is_none_or(|days| days >= 90)
        }),
        "VisitsOfCadre" => Of(|portrait, _| text(portrait, "help.cadre.id") == "GB331122101348001"),
        "DangerousHouse" => Of(|portrait, _| {
            text(portrait, "housing.safetyGrade") == "D" && at(portrait, "housing.renovation").is_null()
        }),
        "CertificatesEnding" => Of(|portrait, home| {
            let ends = |one: &Value| ago(&one["expiresOn"], home.today).is_some_and(|days| (-60..=0).contains(&days));
            any(portrait, "disability.certificates", ends)
        }),
        "PaidNeverArrived" => Of(|portrait, home| {
            let lost = |payment: &Value| {
                payment["status"] == "PAID"
                    && payment["arrivedOn"].is_null()
                    && ago(&payment["paidOn"], home.today).is_some_and(|days| days >= 30)
            };
            any(portrait, "funds.disbursements", lost)
        }),
        "ReturnedPayments" => Of(|portrait, home| {
            let returned = |payment: &Value| {
                payment["status"] == "RETURNED" && ago(&payment["paidOn"], home.today).is_some_and(|days| days < 183)
            };
            any(portrait, "funds.disbursements", returned)
        }),
        "OverdueLoansRed" => Of(|portrait, home| {
            let overdue = |loan: &Value| {
                ago(&loan["dueOn"], home.today).is_some_and(|days| days > 0) && amount(&loan["balance"]) > Decimal::ZERO
            };
            is_red(portrait) && any(portrait, "loans.microloans", overdue)
        }),
        "OverdueProjects" => Of(|portrait, home| {
            let overdue = |project: &Value| {
                ago(&project["dueOn"], home.today).is_some_and(|days| days > 0)
                    && project["progress"].as_i64().is_some_and(|done| done < 100)
                    && amount(&project["heldBack"]) > Decimal::ZERO
            };
            any(portrait, "projects", overdue)
        }),
        "LapsedMandates" => Figures(|portraits, today| {
            let lapsed = |portrait: &&&Value| {
                ago(at(portrait, "assets.deposits.mandate.expiresOn"), today).is_some_and(|days| days > 0)
            };
            let lapsed: Vec<&Value> = portraits.iter().filter(lapsed).copied().collect();
            counted(&lapsed, |portrait| vec![vec![town(portrait)]])
        }),
        "DropoutRiskByTown" => Figures(|portraits, _| {
            let warned = |portrait: &&&Value| at(portrait, "education.dropoutRisk") == true;
            let warned: Vec<&Value> = portraits.iter().filter(warned).copied().collect();
            counted(&warned, |portrait| vec![vec![town(portrait)]])
        }),
        "IncomeByCause" => Figures(|portraits, _| {
            with_income(portraits, |portrait| {
                let causes = at(portrait, "registry.causes").as_array().cloned().unwrap_or_default();
                let key = |cause: &Value| vec![cause.as_str().map(str::to_owned)];
                if causes.is_empty() { vec![vec![None]] } else { causes.iter().map(key).collect() }
            })
        }),
        "HouseholdsByCategory" => Figures(|portraits, _| {
            counted(portraits, |portrait| vec![vec![town(portrait), named(portrait, "registry.category")]])
        }),
        "WarningsByColour" => {
            Figures(|portraits, _| with_income(portraits, |portrait| vec![vec![named(portrait, "risk.warning.level")]]))
        }
        other => panic!("docs/questions.md: nobody says here what `{other}` means"),
    }
}

fn first_of_month(today: Date) -> String {
    Date::new(today.y, today.m, 1).to_string()
}
