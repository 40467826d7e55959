use std::collections::HashSet;

use super::*;

const DEMO: &str = "331122101348000001";

#[test]
fn a_person_leads_back_to_its_household() {
    let world = World::new(1, 21);
    let mut roll = Roll::new(7, "", "test");
    let villages = &world.inner.divisions.villages;
    let mut seen = 0;
    while seen < 10_000 {
        let id = format!("{}{:06}", roll.pick(villages), roll.below(21) + 1);
        let household = world.household(&id).unwrap();
        for (index, member) in household.members.iter().enumerate() {
            assert!(id_number::valid(&member.id_number), "{}", member.id_number);
            let (back, at) = world.person(&member.id_number).unwrap();
            assert_eq!((back.id.as_str(), at), (id.as_str(), index));
            seen += 1;
        }
    }
}

#[test]
fn no_two_people_of_a_county_share_a_number() {
    let world = World::new(1, 21);
    let mut numbers = HashSet::new();
    for id in world.village_household_ids("331122000000") {
        for member in world.household(&id).unwrap().members {
            assert!(numbers.insert(member.id_number));
        }
    }
    assert!(numbers.len() > 10_000);
}

#[test]
fn the_same_seed_makes_the_same_world() {
    let (one, two, other) = (World::new(1, 21), World::new(1, 21), World::new(2, 21));
    let text = |world: &World| format!("{:?}", world.household(DEMO).unwrap());
    assert_eq!(text(&one), text(&two));
    assert_ne!(text(&one), text(&other));
}

#[test]
fn every_member_is_of_the_age_of_its_role() {
    let world = World::on(Date::new(2026, 6, 1), 1, 21);
    for id in world.village_household_ids("331122101348") {
        let household = world.household(&id).unwrap();
        assert!((2..=6).contains(&household.members.len()));
        for member in &household.members {
            match member.role {
                Role::Child => assert!((6..18).contains(&member.age())),
                Role::GrownChild => assert!((16..27).contains(&member.age())),
                Role::Father | Role::Mother => assert!(member.age() >= 70),
                Role::Head | Role::Spouse => assert!((45..60).contains(&member.age())),
            }
        }
    }
}

#[test]
fn ids_that_are_not_of_this_world_are_nobody() {
    let world = World::new(1, 21);
    for id in ["", "331122101348000000", "331122101348000022", "331122101999000001", "33112210134800000x", "户"] {
        assert!(world.household(id).is_none(), "{id}");
    }
    for id in ["", "110101199001011237", "33112219680101001X", "一二三四五六"] {
        assert!(world.person(id).is_none(), "{id}");
    }
}

#[test]
fn divisions_have_their_names_and_villages() {
    let world = World::new(1, 21);
    let village = world.division("331122101348").unwrap();
    assert_eq!((village.name.as_str(), village.town.as_str(), village.level), ("苍源村", "壶镇镇", 5));
    assert_eq!(village.county, "缙云县");
    assert_eq!(world.division("331122000000").unwrap().town, "");
    assert_eq!(world.village_household_ids("331122101348").count(), 21);
    assert_eq!(world.village_household_ids("331122101348").next().unwrap(), DEMO);
    assert!(world.village_household_ids("330000000000").nth(500_000).is_some());
    let code = world.household(DEMO).unwrap().agri_code;
    assert_eq!(world.household_by_code(&code).unwrap().id, DEMO);
    assert!(world.household_by_code(&code.replace("01", "02")).is_none());
}

#[test]
fn exceptions_stand_where_they_are_said_to_stand() {
    let world = World::new(1, 21);
    let at = |n: u32| world.household(&format!("331122101348{n:06}")).unwrap();
    assert!(at(7).members.iter().any(|member| !member.alive && member.death_on.is_some()));
    assert!(at(6).members.iter().any(|member| member.moved_on.is_some() && !member.in_register));
    assert!(at(4).members.iter().any(|member| member.police_name != member.name));
    assert!(at(10).almost_nothing());
    assert_eq!(at(16).exception, Some(Exception::DoctorDisagrees));
    assert_eq!(at(17).exception, Some(Exception::PaymentUnknown));
    assert_eq!(at(19).exception, Some(Exception::PaymentDiffers));
    assert_eq!(at(1).exception, None);
}

#[test]
fn ids_are_found_by_their_place_as_by_going_through_them() {
    let world = World::new(1, 16);
    let all: Vec<String> = world.village_household_ids("331122").collect();
    assert_eq!(all.len(), world.households_in("331122000000"));
    assert!(all.is_sorted());
    let some = [0, 1, 15, 16, 17, all.len() - 1];
    for at in some {
        assert_eq!(world.households_up_to("331122", &all[at]), at + 1);
        assert_eq!(world.household_ids_from("331122", at).next().as_ref(), Some(&all[at]));
    }
    for (after, before) in [("", 0), ("33112", 0), ("331122999999999999", all.len()), ("9", all.len())] {
        assert_eq!(world.households_up_to("331122", after), before, "{after}");
    }
    let members: usize = all.iter().map(|id| world.household(id).unwrap().members.len()).sum();
    assert_eq!((world.persons_in("331122"), world.persons_in("99")), (members, 0));
    // Between two villages, and of another county.
    assert_eq!(world.households_up_to("331122", &format!("{}999999", &all[15][..12])), 16);
    assert_eq!(world.households_in("99"), 0);
    assert_eq!(world.household_ids_from("331122", all.len()).next(), None);
}
