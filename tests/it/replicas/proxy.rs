//! A cable that can be cut: connections to addresses, as long as they are let through.

use std::net::SocketAddr;
use std::thread;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What becomes of connections and what is sent over them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cable {
    Whole,
    /// They stay open, and nothing comes through; it waits.
    Mute,
    /// What is asked comes through, and the answers wait.
    Deaf,
    /// They are closed, as are new ones.
    Refused,
    /// The proxy is gone.
    Gone,
}

/// Stands before all members for one replica.
pub struct Proxy {
    pub endpoints: Vec<String>,
    cables: Vec<watch::Sender<Cable>>,
}

impl Proxy {
    pub fn start(endpoints: &[String]) -> Self {
        let (mut own, mut cables) = (Vec::new(), Vec::new());
        for endpoint in endpoints {
            let target: SocketAddr = endpoint.strip_prefix("http://").unwrap().parse().unwrap();
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.set_nonblocking(true).unwrap();
            own.push(format!("http://{}", listener.local_addr().unwrap()));
            let (cable, cut) = watch::channel(Cable::Whole);
            cables.push(cable);
            thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(serve(listener, target, cut));
            });
        }
        Self { endpoints: own, cables }
    }

    pub fn set(&self, cable: Cable) {
        (0..self.cables.len()).for_each(|member| self.set_one(member, cable));
    }

    /// The cable to one member.
    pub fn set_one(&self, member: usize, cable: Cable) {
        self.cables[member].send_replace(cable);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.set(Cable::Gone);
    }
}

async fn serve(listener: std::net::TcpListener, target: SocketAddr, cut: watch::Receiver<Cable>) {
    let listener = TcpListener::from_std(listener).unwrap();
    let mut end = cut.clone();
    let accept = async {
        loop {
            let (near, _) = listener.accept().await.unwrap();
            tokio::spawn(carry(near, target, cut.clone()));
        }
    };
    tokio::select! {
        () = accept => {}
        _ = end.wait_for(|cable| *cable == Cable::Gone) => {}
    }
}

async fn carry(near: TcpStream, target: SocketAddr, cut: watch::Receiver<Cable>) {
    if !is_through(&mut cut.clone(), &[Cable::Mute]).await {
        return;
    }
    let Ok(far) = TcpStream::connect(target).await else { return };
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    // One that ends closes the other way as well.
    tokio::select! {
        () = pump(near_in, far_out, cut.clone(), &[Cable::Mute]) => {}
        () = pump(far_in, near_out, cut, &[Cable::Mute, Cable::Deaf]) => {}
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut cut: watch::Receiver<Cable>, waits: &[Cable]) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let mut changed = cut.clone();
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            _ = changed.changed() => {
                if !is_through(&mut cut, waits).await {
                    return;
                }
                continue;
            }
        };
        let Ok(length @ 1..) = read else { return };
        if !is_through(&mut cut, waits).await || to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

/// Waits as long as the cable is so; `false`: the connection is to be closed.
async fn is_through(cut: &mut watch::Receiver<Cable>, waits: &[Cable]) -> bool {
    let now = cut.wait_for(|cable| !waits.contains(cable)).await;
    matches!(now.as_deref(), Ok(Cable::Whole | Cable::Mute | Cable::Deaf))
}
