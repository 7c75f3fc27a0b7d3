//! Those who have connected and were not let in yet: bounded in number, and for each address, so that one host cannot
//! keep all others out by connecting and saying nothing.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex},
};

use crate::table::lock;

/// Connections that wait at a time, from everywhere and from one address; one more is closed at once.
const ALL_MAX: usize = 1024;
const EACH_MAX: usize = 128;

#[derive(Default)]
struct Guests {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// Everybody who waits.
#[derive(Default)]
pub(crate) struct Lobby(Mutex<Guests>);

/// A place among them; free again when dropped.
pub(crate) struct Place {
    lobby: Arc<Lobby>,
    address: IpAddr,
}

impl Lobby {
    /// Takes somebody in who connects from `address`; `None` if there is no place.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let address = network(address);
        let mut guests = lock(&self.0);
        let known = guests.by_address.get(&address).copied().unwrap_or(0);
        if guests.all >= ALL_MAX || known >= EACH_MAX {
            return None;
        }
        guests.all += 1;
        guests.by_address.insert(address, known + 1);
        Some(Place { lobby: Arc::clone(self), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut guests = lock(&self.lobby.0);
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
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_one_address_nor_all_together_take_more_than_their_places() {
        let lobby = Arc::new(Lobby::default());
        let one = |last: u128| IpAddr::V6(Ipv6Addr::from_bits(0x2001_0db8 << 96 | last));
        let mut places: Vec<_> = (0..EACH_MAX as u128).map(|last| lobby.enter(one(last)).unwrap()).collect();
        assert!(lobby.enter(one(7)).is_none(), "one network of 64 bits is one host");
        places.pop();
        places.push(lobby.enter(one(7)).expect("a place is free again"));
        for host in 1..=(ALL_MAX - EACH_MAX) as u32 {
            places.push(lobby.enter(IpAddr::from(host.to_be_bytes())).unwrap());
        }
        assert!(lobby.enter(IpAddr::from([192, 0, 2, 1])).is_none());
        drop(places);
        let guests = lock(&lobby.0);
        assert_eq!((guests.all, guests.by_address.len()), (0, 0));
    }
}
