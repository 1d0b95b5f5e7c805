//! `engineioxide` on `hyper` and one thread, as far as `servers/foreign.ts` asks.
use bytes::Bytes;
use engineioxide::config::EngineIoConfig;
use engineioxide::handler::EngineIoHandler;
use engineioxide::service::EngineIoService;
use engineioxide::{DisconnectReason, Socket, Str};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use std::io::Read;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;

#[derive(Debug, Default)]
struct Echo(Mutex<Vec<Arc<Socket<()>>>>);

impl EngineIoHandler for Echo {
    type Data = ();

    fn on_connect(self: Arc<Self>, socket: Arc<Socket<()>>) {
        self.0.lock().unwrap().push(socket);
    }

    fn on_disconnect(&self, socket: Arc<Socket<()>>, _: DisconnectReason) {
        self.0.lock().unwrap().retain(|other| other.id != socket.id);
    }

    fn on_message(self: &Arc<Self>, message: Str, socket: Arc<Socket<()>>) {
        socket.emit(message).unwrap();
    }

    fn on_binary(self: &Arc<Self>, data: Bytes, socket: Arc<Socket<()>>) {
        socket.emit_binary(data).unwrap();
    }
}

fn control(echo: &Echo) {
    let text = |index| Str::from(format!("{index:04}-The quick brown fox jumps o"));
    let texts: Vec<Str> = (0..80).map(text).collect();
    let mut broadcasts = texts.iter().cycle();
    for byte in std::io::stdin().bytes() {
        let sockets = echo.0.lock().unwrap();
        match byte.unwrap() {
            b'b' => {
                let message = broadcasts.next().unwrap();
                for socket in sockets.iter() {
                    socket.emit(message.clone()).unwrap();
                }
            }
            b'u' => {
                for message in texts.iter().cycle().take(10_000) {
                    sockets[0].emit(message.clone()).unwrap();
                }
            }
            _ => println!("{}", sockets.len()),
        }
    }
    std::process::exit(0);
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let echo = Arc::new(Echo::default());
    // What its buffer has no room for is lost, so it must hold a burst.
    let config = EngineIoConfig::builder().max_payload(2 << 20).max_buffer_size(10_000).build();
    let service = EngineIoService::with_config(echo.clone(), config);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap().port());
    std::thread::spawn(move || control(&echo));
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service.clone());
        tokio::spawn(served.with_upgrades());
    }
}
