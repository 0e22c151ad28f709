//! Whether an endpoint is a port of this process, as far as an address tells.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _, UdpSocket};

/// The one of `ports` (key and address) that `host` and `port` lead to.
///
/// A name is looked up only when the number of the port is one of them. What stands before the process, such
/// as a load balancer, is not recognised: it has an address of its own.
pub(super) fn find(
    host: &str,
    port: u16,
    ports: &[(&'static str, SocketAddr)],
) -> Option<(&'static str, SocketAddr)> {
    let same: Vec<_> = ports.iter().filter(|(_, address)| address.port() == port && port != 0).collect();
    if same.is_empty() {
        return None;
    }
    let host = host.trim_start_matches('[').trim_end_matches(']');
    // A name that nobody knows now leads nowhere.
    let found = (host, port).to_socket_addrs().ok()?;
    let found: Vec<IpAddr> = found.map(|address| reached(address.ip())).collect();
    let is_reached = |own: IpAddr| match own.is_unspecified() {
        true => found.iter().any(|ip| is_of_this_machine(*ip)),
        false => found.contains(&own),
    };
    same.into_iter().copied().find(|(_, address)| is_reached(address.ip()))
}

/// What a connection to `ip` reaches: to no address in particular, this machine.
fn reached(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        other => other,
    }
}

fn is_of_this_machine(ip: IpAddr) -> bool {
    // Only the machine's own addresses can be bound. Nothing is sent.
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leads(host: &str, port: u16, listen: &str) -> bool {
        find(host, port, &[("grpc.listen", listen.parse().unwrap())]).is_some()
    }

    #[test]
    fn every_way_to_write_the_own_address_is_recognised() {
        for host in ["127.0.0.1", "localhost", "0.0.0.0"] {
            assert!(leads(host, 4317, "127.0.0.1:4317"), "{host}");
            assert!(leads(host, 4317, "0.0.0.0:4317"), "{host}");
        }
        assert!(leads("[::1]", 4317, "[::]:4317"));
        assert!(leads("127.0.0.1", 4317, "[::]:4317"), "an IPv6 port takes IPv4 too");
    }

    #[test]
    fn another_port_or_machine_is_another_endpoint() {
        assert!(!leads("127.0.0.1", 4318, "127.0.0.1:4317"));
        assert!(!leads("127.0.0.2", 4317, "127.0.0.1:4317"));
        assert!(!leads("127.0.0.1", 0, "127.0.0.1:0"), "any free port, which is not known yet");
        // 192.0.2.0/24 is reserved for documentation (RFC 5737); no interface has it.
        assert!(!leads("192.0.2.1", 4317, "0.0.0.0:4317"));
        assert!(!leads("name.invalid", 4317, "0.0.0.0:4317"));
    }
}
