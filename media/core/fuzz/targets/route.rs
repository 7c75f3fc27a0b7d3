//! Paths and queries of requests: what is repeated in a playlist is harmless, and only our signatures let in.
#![no_main]

use libfuzzer_sys::fuzz_target;
use relay::door::{
    route::{Query, Route},
    sign::{sign, verify},
};

fuzz_target!(|input: (&str, &str)| {
    let (path, query) = input;
    let query = Query::parse(query);
    let repeated = query.repeated();
    assert!(repeated.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_=&%".contains(&byte)));
    if !repeated.is_empty() {
        assert_eq!(Query::parse(&repeated).repeated(), repeated);
    }
    let Some(route) = Route::parse(path) else { return };
    assert!(!route.app.is_empty() && !route.name.is_empty());
    assert!(!route.app.contains('/') && !route.name.contains('/'));
    for generation in [0, 1] {
        let verdict =
            |query: &Query, now_s| verify(b"key", &route.app, &route.name, generation, query, now_s);
        assert!(verdict(&query, 0).is_err());
        let good = Query::parse(&sign(b"key", &route.app, &route.name, 1000, generation));
        assert!(verdict(&good, 999).is_ok());
        assert!(verdict(&good, 1000).is_err());
        let other = Query::parse(&sign(b"key", &route.app, &route.name, 1000, generation + 1));
        assert!(verdict(&other, 999).is_err());
    }
});
