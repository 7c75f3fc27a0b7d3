//! Connections that are counted: bounded in number, and for each address, so that one host cannot keep all others out by
//! connecting and saying nothing.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex},
};

use super::Proxies;
use crate::table::lock;

/// Connections that have not been let in yet. Each is let in or sent away within seconds, so that also a proxy makes do
/// with the places of one host.
const WAITING: Limits = Limits { all: 1024, each: 128, proxy: 128 };

/// How many there may be at a time, from everywhere, from one address, and from one that speaks for many: of this
/// machine's own, where a program may pass connections on, or of a trusted proxy. One more is refused at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) all: usize,
    pub(crate) each: usize,
    pub(crate) proxy: usize,
}

#[derive(Default)]
struct Guests {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// Everybody who is counted.
pub(crate) struct Lobby {
    limits: Limits,
    proxies: Proxies,
    guests: Mutex<Guests>,
}

impl Default for Lobby {
    /// For connections that have not been let in yet.
    fn default() -> Self {
        Self::new(WAITING, Proxies::default())
    }
}

/// A place among them; free again when dropped.
pub(crate) struct Place {
    lobby: Arc<Lobby>,
    address: IpAddr,
}

impl Lobby {
    pub(crate) fn new(limits: Limits, proxies: Proxies) -> Self {
        Self { limits, proxies, guests: Mutex::default() }
    }

    /// Takes somebody in who connects from `address`; `None` if there is no place.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let Limits { all, each, proxy } = self.limits;
        let address = address.to_canonical();
        let trusted = self.proxies.has(address); // and counted apart from others of its network
        let most = if trusted || address.is_loopback() { proxy } else { each };
        let address = if trusted { address } else { network(address) };
        let mut guests = lock(&self.guests);
        let known = guests.by_address.get(&address).copied().unwrap_or(0);
        if guests.all >= all || known >= most {
            return None;
        }
        guests.all += 1;
        guests.by_address.insert(address, known + 1);
        Some(Place { lobby: Arc::clone(self), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut guests = lock(&self.lobby.guests);
        guests.all -= 1;
        if let Some(count) = guests.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                guests.by_address.remove(&self.address);
            }
        }
    }
}

/// Whose address it is: one host has all of an IPv6 network of 64 bits.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEW: Limits = Limits { all: 5, each: 2, proxy: 5 };

    #[test]
    fn neither_one_address_nor_all_together_take_more_than_their_places() {
        let lobby = Arc::new(Lobby::default());
        let one = |last: u128| IpAddr::V6(Ipv6Addr::from_bits(0x2001_0db8 << 96 | last));
        let mut places: Vec<_> =
            (0..WAITING.each as u128).map(|last| lobby.enter(one(last)).unwrap()).collect();
        assert!(lobby.enter(one(7)).is_none(), "one network of 64 bits is one host");
        places.pop();
        places.push(lobby.enter(one(7)).expect("a place is free again"));
        for host in 1..=(WAITING.all - WAITING.each) as u32 {
            places.push(lobby.enter(IpAddr::from(host.to_be_bytes())).unwrap());
        }
        assert!(lobby.enter(IpAddr::from([192, 0, 2, 1])).is_none());
        drop(places);
        let guests = lock(&lobby.guests);
        assert_eq!((guests.all, guests.by_address.len()), (0, 0));
    }

    #[test]
    fn a_proxy_on_this_machine_speaks_for_many() {
        for proxy in ["127.0.0.1", "::ffff:127.0.0.1", "::1"].map(|text| text.parse::<IpAddr>().unwrap()) {
            let lobby = Arc::new(Lobby::new(FEW, Proxies::default()));
            let places: Vec<_> = (0..4).map(|_| lobby.enter(proxy).unwrap()).collect();
            let host = IpAddr::from([192, 0, 2, 1]);
            let place = lobby.enter(host).unwrap();
            assert!(lobby.enter(proxy).is_none() && lobby.enter(host).is_none());
            drop((places, place));
            let places = [lobby.enter(host).unwrap(), lobby.enter(host).unwrap()];
            assert!(lobby.enter(host).is_none());
            drop(places);
        }
    }

    #[test]
    fn a_trusted_proxy_speaks_for_many_and_takes_no_place_of_its_neighbours() {
        let lobby = Arc::new(Lobby::new(FEW, Proxies::parse(["2001:db8::7/128"]).unwrap()));
        let [proxy, neighbour] = ["2001:db8::7", "2001:db8::8"].map(|text| text.parse::<IpAddr>().unwrap());
        let places: Vec<_> = (0..4).map(|_| lobby.enter(proxy).unwrap()).collect();
        let place = lobby.enter(neighbour).expect("they share a network of 64 bits and no more");
        assert!(lobby.enter(proxy).is_none(), "five are all");
        drop((places, place));
        let places = [lobby.enter(neighbour).unwrap(), lobby.enter(neighbour).unwrap()];
        assert!(lobby.enter(neighbour).is_none());
        drop(places);
    }

    #[test]
    fn what_was_not_let_in_yet_is_limited_on_this_machine_too() {
        let lobby = Arc::new(Lobby::default());
        let places: Vec<_> = std::iter::from_fn(|| lobby.enter(IpAddr::from([127, 0, 0, 1]))).collect();
        assert_eq!(places.len(), WAITING.proxy);
        assert!(lobby.enter(IpAddr::from([127, 0, 0, 2])).is_some(), "others are let in");
    }
}
