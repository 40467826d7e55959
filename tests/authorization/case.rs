//! Who asks what, by chance: the same number gives the same case.

use departments::World;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::access_oracle::Caller;

pub const VILLAGE: &str = "331122101348";
/// The documents' household; one of another cadre, one with almost nothing, one of another village, of another county,
/// one of whose payments two departments disagree, and none.
pub const HOUSEHOLDS: [&str; 8] = [
    "331122101348000001",
    "331122101348000015",
    "331122101348000003",
    "331122101348000010",
    "331122101347000002",
    "330109102001000001",
    "331122101348000017",
    ABSENT,
];
/// Of the same village as the first, and nobody's.
pub const ABSENT: &str = "331122101348000099";
/// An id number and a code that are nobody's.
pub const NOBODY: &str = "331122199001011230";
pub const NO_CODE: &str = "ZN00000000000000000000";

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Root {
    Household,
    ByCode,
    Person,
    Listing,
    /// A listing with conditions.
    Scan,
    /// One of persons.
    PersonScan,
}

impl Root {
    pub fn is_scan(self) -> bool {
        matches!(self, Self::Scan | Self::PersonScan)
    }

    /// What it gives.
    pub fn entity(self) -> &'static str {
        if matches!(self, Self::Person | Self::PersonScan) { "Person" } else { "Household" }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    Post,
    PostJson,
    /// One of several operations of the document, by its name.
    PostNamed,
    Get,
    /// Second of a list of operations, where lists are taken.
    Batch,
    /// `graphql-transport-ws`, where the gateway is of the stage's own.
    Socket,
}

impl Transport {
    pub const ALL: [Self; 6] = [Self::Post, Self::PostJson, Self::PostNamed, Self::Get, Self::Batch, Self::Socket];

    pub fn name(self) -> &'static str {
        match self {
            Self::Post => "POST",
            Self::PostJson => "POST as application/json",
            Self::PostNamed => "POST by operationName",
            Self::Get => "GET",
            Self::Batch => "POST in a list",
            Self::Socket => "WebSocket",
        }
    }
}

#[derive(Debug, Clone)]
pub struct Case {
    pub roles: Vec<String>,
    /// Network, purpose and case that fit the first role, else the odd ones.
    pub network: Option<String>,
    pub purpose: Option<Option<String>>,
    pub case: Option<Option<&'static str>>,
    /// The household that the claims are made for, and which of its members is the caller's own person.
    pub claims_for: usize,
    pub member: usize,
    pub department: usize,
    pub root: Root,
    pub target: usize,
    pub leaves: Vec<prop::sample::Index>,
    pub claims: bool,
    pub items: bool,
    pub aliases: bool,
    pub extensions: bool,
    /// The rarer way in which a role comes: a cadre acting for the household, an officer without an emergency.
    pub rarely: bool,
    /// How the document is put: fragments, directives, variables. 0: plainly.
    pub shape: u64,
    pub transport: Transport,
    /// Which of the stage's gateways.
    pub gate: prop::sample::Index,
    /// Where the gateway asks for them: the time of day, and the certificate that is shown; beyond the list, none.
    pub time: usize,
    pub certificate: usize,
    /// A second person approves it, where a grant of the caller's asks for that; perhaps for another household.
    pub approved: bool,
    pub approved_for_another: bool,
}

pub const NETWORKS: [&str; 3] = ["gov", "public-proxy", "elsewhere"];

/// What cases are drawn from, beside what is written here.
#[derive(Clone)]
pub struct Drawn {
    pub roles: Vec<String>,
    /// Roles that have grants, which are drawn more often.
    pub granted: Vec<String>,
    /// Roles that may scan, which scans are drawn for; none: nothing is scanned.
    pub scanning: Vec<String>,
    /// Those that may be declared, and one that may not.
    pub purposes: Vec<String>,
    pub departments: Vec<String>,
    /// Keys that are asked for: the last of the households is nobody's.
    pub households: Vec<String>,
    pub nobody: String,
    pub no_code: String,
    /// Where households are listed.
    pub division: Option<String>,
    pub networks: Vec<String>,
    pub issuer: String,
    pub get: bool,
    pub batch: bool,
    /// Whether WebSockets are opened.
    pub sockets: bool,
}

impl Drawn {
    /// A household that is nobody's.
    pub fn absent(&self) -> &str {
        self.households.last().map_or(ABSENT, String::as_str)
    }
}

pub fn cases(drawn: &Drawn) -> BoxedStrategy<Case> {
    let one = prop::sample::select(drawn.roles.clone()).prop_map(|role| vec![role]);
    let two = (prop::sample::select(drawn.roles.clone()), prop::sample::select(drawn.roles.clone()))
        .prop_map(|(a, b)| vec![a, b]);
    let given = prop::sample::select(drawn.granted.clone()).prop_map(|role| vec![role]);
    let roles = prop_oneof![1 => one, 2 => two, 6 => given];
    let purposes: Vec<Option<String>> = drawn.purposes.iter().cloned().map(Some).chain([None]).collect();
    let network = prop_oneof![3 => Just(None), 1 => prop::sample::select(drawn.networks.clone()).prop_map(Some)];
    let purpose = prop_oneof![3 => Just(None), 1 => prop::sample::select(purposes).prop_map(Some)];
    let numbers = vec![None, Some("JD-2026-0001"), Some("HD-2026-0001"), Some("xJD-2026-0001"), Some("JD-2026-0001\n")];
    let case = prop_oneof![6 => Just(None), 1 => prop::sample::select(numbers).prop_map(Some)];
    let claims_for = prop_oneof![5 => Just(0_usize), 1 => 0..5_usize];
    let who = (roles, network, purpose, case, (claims_for, 0..8_usize, 0..drawn.departments.len().max(1)));
    let listing = if drawn.division.is_some() { Root::Listing } else { Root::Household };
    let scan = if drawn.scanning.is_empty() { Root::Household } else { Root::Scan };
    let person_scan = if drawn.scanning.is_empty() { Root::Household } else { Root::PersonScan };
    let root = prop_oneof![
        5 => Just(Root::Household),
        1 => Just(Root::ByCode),
        2 => Just(Root::Person),
        1 => Just(listing),
        2 => Just(scan),
        2 => Just(person_scan)
    ];
    let scanning = drawn.scanning.clone();
    let mut transports = Transport::ALL.to_vec();
    transports.retain(|one| match one {
        Transport::Get => drawn.get,
        Transport::Batch => drawn.batch,
        Transport::Socket => drawn.sockets,
        _ => true,
    });
    let what = (
        root,
        prop_oneof![5 => Just(0_usize), 3 => 0..drawn.households.len()],
        prop::collection::vec(any::<prop::sample::Index>(), 1..24),
        (any::<[bool; 4]>(), prop_oneof![2 => Just(false), 1 => Just(true)]),
        (any::<u64>(), prop::sample::select(transports), any::<prop::sample::Index>()),
    );
    let more = (0..4_usize, 0..4_usize, any::<bool>(), prop_oneof![3 => Just(false), 1 => Just(true)]);
    (who, what, more)
        .prop_map(move |(who, what, (time, certificate, approved, approved_for_another))| {
            let (mut roles, mut network, mut purpose, mut case, (claims_for, member, department)) = who;
            let (root, target, leaves, (flags, rarely), (shape, transport, gate)) = what;
            let [items, claims, aliases, extensions] = flags;
            if root.is_scan() && shape % 4 != 0 {
                roles = vec![scanning[member % scanning.len()].clone()];
                if shape % 8 > 3 {
                    (network, purpose, case) = (None, None, None);
                }
            }
            Case {
                roles,
                network,
                purpose,
                case,
                claims_for,
                member,
                department,
                root,
                target,
                leaves,
                claims,
                items,
                aliases,
                extensions,
                rarely,
                shape,
                transport,
                gate,
                time,
                certificate,
                approved,
                approved_for_another,
            }
        })
        .boxed()
}

impl Case {
    pub fn caller(&self, drawn: &Drawn, world: &World) -> Caller {
        let (network, purpose, number) = match self.roles.first().map_or("", String::as_str) {
            "household" => ("public-proxy", None, None),
            "cadre" if self.rarely => ("gov", Some("acting"), None),
            "cadre" => ("gov", Some("help"), None),
            "duty-officer" => ("gov", Some("emergency"), None),
            "grid-worker" => ("gov", Some("grid-watch"), None),
            "supervisor" => ("gov", Some("supervision"), Some("JD-2026-0001")),
            "verifier" => ("gov", Some("recognition"), Some("HD-2026-0001")),
            "enterprise" => ("public-proxy", None, None),
            _ => ("gov", Some("duty"), None),
        };
        let own = HOUSEHOLDS[self.claims_for];
        let household = world.household(own).expect("a household of the world");
        let members = &household.members;
        let claims = json!({
            "household": own,
            "person": members[self.member % members.len()].id_number,
            "grids": [household.grid],
            "divisions": [&own[..if self.aliases { 6 } else { 12 }]],
            "department": drawn.departments[self.department],
        });
        Caller {
            id: household.cadre_id,
            roles: self.roles.clone(),
            networks: vec![self.network.clone().unwrap_or_else(|| network.to_owned())],
            purpose: self.purpose.clone().unwrap_or(purpose.map(str::to_owned)),
            case: self.case.unwrap_or(number).map(str::to_owned),
            claims: claims.as_object().cloned().unwrap_or_else(Map::<String, Value>::new),
            issuer: drawn.issuer.clone(),
            emergency: match self.roles.iter().any(|role| role == "duty-officer") {
                true => !self.rarely,
                false => self.rarely && self.shape % 16 == 1,
            },
            ..Caller::default()
        }
    }
}
