fn main() {
    let mut faults = huxiang::base::fault::Faults::default();
    let s = huxiang::model::snapshot::Snapshot::load(
        &huxiang::model::snapshot::Folders::under(std::path::Path::new(".")),
        &|name| Some(format!("http://127.0.0.1:1/{name}")),
        &mut faults,
    );
    print!("{}", faults.render());
    println!("{} faults, loaded {}", faults.len(), s.is_some());
}
