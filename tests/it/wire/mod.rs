#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test uses a part of it")]
//! HTTP/1.1 in the raw: requests leave exactly as they are written, with no library's tidying up.

use std::{
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// A connection that is kept open.
pub struct Wire {
    stream: BufReader<TcpStream>,
}

/// What came back.
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl Wire {
    pub fn open(addr: SocketAddr) -> Self {
        Self { stream: BufReader::new(TcpStream::connect(addr).unwrap()) }
    }

    /// Whether the other side has ended the connection.
    pub fn closed(&mut self) -> bool {
        self.stream.get_ref().set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        match self.stream.get_mut().read(&mut [0]) {
            Ok(read) => read == 0,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }

    /// Sends a request and reads the answer.
    pub fn ask(&mut self, method: &str, target: &str, headers: &[(String, String)], body: &str) -> Answer {
        let mut request = format!("{method} {target} HTTP/1.1\r\n");
        for (name, value) in headers {
            request.extend([name.as_str(), ": ", value.as_str(), "\r\n"]);
        }
        if !body.is_empty() || matches!(method, "POST" | "PUT" | "PATCH") {
            request.extend(["Content-Length: ", body.len().to_string().as_str(), "\r\n"]);
        }
        request += "\r\n";
        request += body;
        self.stream.get_mut().write_all(request.as_bytes()).unwrap();
        self.read(method)
    }

    fn read(&mut self, method: &str) -> Answer {
        let mut line = || {
            let mut line = String::new();
            self.stream.read_line(&mut line).unwrap();
            line.trim_end().to_owned()
        };
        let status = line().split(' ').nth(1).expect("an answer").parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let header = line();
            let Some((name, value)) = header.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let answer = Answer { status, headers, body: String::new() };
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; if method == "HEAD" || status == 204 { 0 } else { length }];
        self.stream.read_exact(&mut body).unwrap();
        Answer { body: String::from_utf8_lossy(&body).into_owned(), ..answer }
    }
}
