use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures::FutureExt;

use super::*;

fn rate_of(per_second_max: Option<u32>) -> Rate {
    Rate::new(per_second_max, Arc::default())
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// What comes next in a simulation: by time, then in the order of the calls.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Answered(usize),
    Pauses(Duration),
    Leaves(usize),
    Wakes(usize),
    Comes(usize),
}

/// Calls, each answered after `answer` and given up after `patience`. All in turn are of `lanes` callers.
struct Run {
    patience: Duration,
    answer: Duration,
    /// How much later than it should a call wakes up.
    late: fn(usize) -> Duration,
    lanes: usize,
    /// Who goes away, after how long.
    leaves: fn(usize) -> Option<Duration>,
    /// When the source asks to be left alone, and for how long.
    pauses: &'static [(u64, u64)],
}

const RUN: Run = Run {
    patience: Duration::from_secs(60),
    answer: Duration::from_millis(10),
    late: |_| Duration::ZERO,
    lanes: 1,
    leaves: |_| None,
    pauses: &[],
};

impl Run {
    /// Who went out, and when, in order.
    fn of(&self, rate: &Rate, comes: impl Iterator<Item = Duration>) -> Vec<(usize, Duration)> {
        let start = Instant::now();
        let mut events: BTreeSet<(Instant, What)> =
            comes.enumerate().map(|(n, at)| (start + at, What::Comes(n))).collect();
        events.extend(self.pauses.iter().map(|(at, pause)| (start + ms(*at), What::Pauses(ms(*pause)))));
        let mut calls: BTreeMap<usize, Turn<'_>> = BTreeMap::new();
        let mut gone: HashMap<usize, Gone> = HashMap::new();
        let mut went = Vec::new();
        while let Some((now, what)) = events.pop_first() {
            let looks = match what {
                What::Answered(n) => {
                    rate.answered(gone[&n], now);
                    None
                }
                What::Pauses(pause) => {
                    rate.pause(now + pause, now);
                    None
                }
                What::Leaves(n) => {
                    calls.remove(&n);
                    None
                }
                What::Wakes(n) => Some(n),
                What::Comes(n) => {
                    let lane = Some((n % self.lanes).to_string().into());
                    let Ok(turn) = rate.reserve(&lane, now, now + self.patience) else { continue };
                    calls.insert(n, turn);
                    events.extend((self.leaves)(n).map(|after| (now + after, What::Leaves(n))));
                    Some(n)
                }
            };
            if let Some((n, turn)) = looks.and_then(|n| Some((n, calls.get(&n)?))) {
                match turn.go(now) {
                    Ok(of) => {
                        went.push((n, now - start));
                        gone.insert(n, of);
                        calls.remove(&n);
                        events.insert((now + self.answer, What::Answered(n)));
                    }
                    Err(_) if turn.is_late(now).is_some() => drop(calls.remove(&n)),
                    Err(until) => {
                        assert!(until > now, "it would ask again and again");
                        let until = until.min(turn.deadline - ENOUGH);
                        events.insert((until + (self.late)(n), What::Wakes(n)));
                    }
                }
            }
            let woken = calls.iter().filter(|(_, turn)| turn.wait(now + ms(60_000)).now_or_never().is_some());
            events.extend(woken.map(|(n, _)| (now + (self.late)(*n), What::Wakes(*n))));
        }
        went
    }
}

fn most_in_a_second(went: &[(usize, Duration)]) -> usize {
    let within = |from: Duration| went.iter().filter(|(_, at)| *at >= from && *at - from <= ms(1_000)).count();
    went.iter().map(|(_, from)| within(*from)).max().unwrap_or(0)
}

/// The calls of each caller went in the order in which they came.
fn in_order(went: &[(usize, Duration)], lanes: usize) -> bool {
    (0..lanes).all(|lane| went.iter().map(|(n, _)| *n).filter(|n| n % lanes == lane).is_sorted())
}

#[tokio::test]
async fn no_window_of_a_second_holds_more_calls_than_allowed_however_late_they_go_out() {
    let pauses = &[(1_500, 1_200), (4_000, 700)];
    for (max, answer) in [(1, 500), (3, 0), (3, 40), (5, 300), (5, 5_000)] {
        for lanes in [1, 4, 60] {
            let rate = rate_of(Some(max));
            let run = Run {
                patience: ms(30_000),
                answer: ms(answer),
                late: |n| ms(u64::try_from(n * 71 % 300).unwrap()),
                lanes,
                leaves: |n| (n % 7 == 3).then_some(ms(400)),
                pauses,
            };
            let went = run.of(&rate, (0..60).map(|n| ms(n * 37)));
            let (most, max) = (most_in_a_second(&went), usize::try_from(max).unwrap());
            assert!(most <= max, "{max} {answer} {lanes}: {most}");
            assert!(in_order(&went, lanes), "{max} {answer} {lanes}: {went:?}");
            let paused = |at: Duration| pauses.iter().any(|(from, pause)| at > ms(*from) && at < ms(from + pause));
            assert!(!went.iter().any(|(_, at)| paused(*at)), "{max} {answer} {lanes}: {went:?}");
            assert!(went.len() >= 20.min(max * 15), "{max} {answer} {lanes}: {}", went.len());
            assert!(rate.lock().ring.is_empty(), "nothing is left of those who waited");
        }
    }
}

#[tokio::test]
async fn in_sustained_overload_a_source_is_asked_nearly_as_often_as_it_allows() {
    // What is answered later than a call takes to arrive keeps its place that much longer.
    for (answer, least) in [(2, 95), (100, 85), (300, 80)] {
        for lanes in [1, 50] {
            let rate = rate_of(Some(5));
            let run = Run { patience: ms(2_000), answer: ms(answer), late: |_| ms(1), lanes, ..RUN };
            let went = run.of(&rate, (0..3_000).map(|n| ms(n * 10)));
            assert!(went.len() >= 150 * least / 100, "{answer} ms, {lanes} callers: {} of 150", went.len());
            assert!(most_in_a_second(&went) <= 5);
        }
    }
}

#[tokio::test]
async fn who_is_next_goes_as_soon_as_a_place_is_free() {
    let times = |lanes| -> Vec<Duration> {
        let went = Run { answer: ms(40), lanes, ..RUN }.of(&rate_of(Some(2)), (0..6).map(|_| ms(0)));
        went.into_iter().map(|(_, at)| at).collect()
    };
    // Sooner than it seemed before the answers.
    let expected = [0, 0, 1_045, 1_045, 2_090, 2_090].map(ms);
    assert_eq!((times(1), times(2), times(6)), (expected.to_vec(), expected.to_vec(), expected.to_vec()));
    // Those before it go away.
    let run = Run { answer: ms(40), leaves: |n| (1..5).contains(&n).then_some(ms(100)), ..RUN };
    assert_eq!(run.of(&rate_of(Some(1)), (0..6).map(|_| ms(0))), [(0, ms(0)), (5, ms(1_045))]);
}

#[tokio::test]
async fn a_pause_leaves_the_queue_as_it_is_and_who_cannot_wait_for_its_end_is_told_at_once() {
    for lanes in [1, 2] {
        let rate = rate_of(Some(1));
        let run = Run { patience: ms(8_000), lanes, pauses: &[(500, 2_000)], ..RUN };
        let went = run.of(&rate, (0..6).map(ms));
        let order: Vec<usize> = went.iter().map(|(n, _)| *n).collect();
        assert_eq!(order, [0, 1, 2, 3, 4, 5], "{went:?}");
        assert_eq!(went[1].1, ms(2_500));
    }
    let (rate, now) = (rate_of(Some(1)), Instant::now());
    let of = |patience| rate.reserve(&None, now, now + ms(patience)).unwrap();
    let (_first, brief, patient) = (of(1_000).go(now).unwrap(), of(3_000), of(6_000));
    rate.pause(now + ms(2_950), now);
    assert_eq!((brief.wait(now + ms(9_000)).now_or_never(), brief.is_late(now)), (Some(()), Some(Late::Pause)));
    assert_eq!((patient.wait(now + ms(9_000)).now_or_never(), patient.is_late(now)), (None, None));
}

#[tokio::test]
async fn callers_go_in_turn_and_the_calls_of_each_in_order() {
    for (max, rounds) in [
        (1, &["many", "few", "one", "many", "few", "many", "many", "many"][..]),
        (2, &["few many", "few one", "many many", "many many"]),
        (3, &["few many one", "few many many", "many many"]),
    ] {
        let rate = rate_of(Some(max));
        let start = Instant::now();
        let came = [("many", 4), ("few", 2), ("one", 1), ("many", 1)];
        let come = |lane: &'static str| {
            let turn = rate.reserve(&Some(lane.into()), start, start + ms(60_000)).unwrap();
            (lane, turn)
        };
        let mut waiting: Vec<_> = came.iter().flat_map(|(lane, n)| (0..*n).map(|_| come(lane))).collect();
        let (mut went, mut of_many) = (Vec::new(), Vec::new());
        for round in 0..u64::try_from(rounds.len()).unwrap() {
            let now = start + ms(round * 1_020);
            // Whoever looks first.
            waiting.reverse();
            let mut together = Vec::new();
            while let Some((at, gone)) =
                waiting.iter().enumerate().find_map(|(at, (_, turn))| Some((at, turn.go(now).ok()?)))
            {
                let (lane, turn) = waiting.remove(at);
                together.push(lane);
                of_many.extend((lane == "many").then_some(turn.number));
                rate.answered(gone, now + ms(10));
            }
            together.sort_unstable();
            went.push(together.join(" "));
        }
        assert_eq!(went, rounds);
        assert!(of_many.is_sorted(), "{max}: {of_many:?}");
        assert!(rate.lock().ring.is_empty(), "nothing is left of those who waited");
    }
}

#[tokio::test]
async fn a_call_beside_a_flood_is_given_the_next_turn_and_one_that_leaves_takes_nobody_s() {
    let rate = rate_of(Some(1));
    let now = Instant::now();
    let of = |lane: &str| rate.reserve(&Some(lane.into()), now, now + ms(4_000));
    let flood: Vec<_> = std::iter::from_fn(|| of("many").ok()).collect();
    assert_eq!(flood.len(), 4, "a further one would come too late");
    let one = of("one").unwrap();
    drop(of("gone").unwrap());
    let after = |round: u32| now + (ARRIVED + WINDOW) * round;
    assert!(flood[0].go(now).is_ok());
    assert!(flood[1].go(after(1)).is_err());
    assert!(one.go(after(1)).is_ok());
    assert!(flood[1].go(after(2)).is_ok());
    drop((flood, one));
    assert!(rate.lock().ring.is_empty());
}

#[tokio::test]
async fn those_that_wait_and_leave_hold_no_place() {
    let rate = rate_of(Some(1));
    let now = Instant::now();
    let first = rate.reserve(&None, now, now + ms(100)).unwrap();
    assert!(first.go(now).is_ok());
    for _ in 0..100 {
        drop(rate.reserve(&None, now, now + ms(5_000)).unwrap());
    }
    let turn = rate.reserve(&None, now, now + ms(5_000)).unwrap();
    assert_eq!(turn.go(now).unwrap_err(), now + ARRIVED + WINDOW);
    assert!(turn.go(now + ARRIVED + WINDOW).is_ok());
}

#[tokio::test]
async fn who_waits_through_a_standstill_still_goes_at_the_rate() {
    let rate = rate_of(Some(5));
    let run = Run { late: |n| if n < 12 { ms(6_000) } else { ms(0) }, ..RUN };
    let went = run.of(&rate, (0..20).map(|_| ms(0)));
    assert_eq!(went.len(), 20);
    assert!(most_in_a_second(&went) <= 5);
}

#[tokio::test]
async fn a_turn_that_would_come_after_the_deadline_is_not_given() {
    let rate = rate_of(Some(1));
    let now = Instant::now();
    let first = rate.reserve(&None, now, now + ms(100)).unwrap();
    assert!(matches!(rate.reserve(&None, now, now + ms(100)), Err(Late::Rate)));
    assert!(rate.reserve(&None, now, now + ms(2_000)).is_ok());
    assert!(first.go(now).is_ok());
}

#[tokio::test]
async fn a_pause_is_kept_and_bounded() {
    let rate = rate_of(None);
    let now = Instant::now();
    let second = Duration::from_secs(1);
    rate.pause(now + 2 * second, now);
    rate.pause(now + second, now);
    let at = |turn: Result<Turn<'_>, Late>| turn.map(|turn| turn.go(now).unwrap_err());
    assert_eq!(at(rate.reserve(&None, now, now + second)), Err(Late::Pause));
    assert_eq!(at(rate.reserve(&None, now, now + 2 * second + ENOUGH)), Err(Late::Pause), "too little is left");
    assert_eq!(at(rate.reserve(&None, now, now + 5 * second)), Ok(now + 2 * second));
    rate.pause(now + 86_400 * second, now);
    assert_eq!(at(rate.reserve(&None, now, now + 100 * second)), Ok(now + PAUSE_MAX));
}

#[tokio::test]
async fn another_maximum_reckons_with_the_same_calls_and_queue() {
    let now = Instant::now();
    let five = rate_of(Some(5));
    let three = Rate::new(Some(3), Arc::clone(&five.known));
    fn reserve(rate: &Rate, now: Instant) -> Turn<'_> {
        rate.reserve(&None, now, now + ms(9_000)).unwrap()
    }
    (0..5).for_each(|_| assert!(reserve(&five, now).go(now).is_ok()));
    let over = now + ARRIVED + WINDOW;
    let (first, second) = (reserve(&three, now), reserve(&five, now));
    assert_eq!((first.go(now).unwrap_err(), first.go(over).is_ok()), (over, true));
    assert!(second.go(over).is_ok());
    three.pause(over + ms(1_000), over);
    assert_eq!(reserve(&five, now).go(over).unwrap_err(), over + ms(1_000));
}
