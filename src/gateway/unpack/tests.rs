//! What is packed here is packed by other code than what unpacks it in the gateway, where there is such.

use std::{io::Write, sync::Arc};

use async_compression::tokio::write::{BrotliEncoder, ZstdEncoder};
use flate2::{
    Compression,
    write::{DeflateEncoder, GzEncoder, ZlibEncoder},
};
use tokio::io::AsyncWriteExt;

use super::*;
use crate::listen::BodyBudget;

const MIB: usize = 1 << 20;

/// Packs with codings by their names; `raw` is what some clients send as deflate.
async fn pack(mut body: Vec<u8>, codings: &[&str]) -> Vec<u8> {
    for coding in codings {
        body = match *coding {
            "gzip" | "x-gzip" => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(&body).unwrap();
                encoder.finish().unwrap()
            }
            "deflate" => {
                let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(&body).unwrap();
                encoder.finish().unwrap()
            }
            "raw" => {
                let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(&body).unwrap();
                encoder.finish().unwrap()
            }
            "br" => {
                let mut encoder = BrotliEncoder::new(Vec::new());
                encoder.write_all(&body).await.unwrap();
                encoder.shutdown().await.unwrap();
                encoder.into_inner()
            }
            "zstd" => {
                let mut encoder = ZstdEncoder::new(Vec::new());
                encoder.write_all(&body).await.unwrap();
                encoder.shutdown().await.unwrap();
                encoder.into_inner()
            }
            _ => body,
        };
    }
    body
}

fn read(names: &[&str]) -> Result<Vec<Coding>, GatewayError> {
    let mut headers = HeaderMap::new();
    for name in names {
        headers.append(header::CONTENT_ENCODING, name.parse().unwrap());
    }
    codings(&headers)
}

async fn unpacked(packed: &[u8], names: &[&str], bytes_max: usize) -> Result<Bytes, GatewayError> {
    let names: Vec<&str> = names.iter().map(|name| if *name == "raw" { "deflate" } else { name }).collect();
    let mut share = Arc::new(BodyBudget::default()).share("a");
    unpack(packed, &read(&[&names.join(", ")])?, &mut share, bytes_max).await
}

const STACKS: [&[&str]; 9] = [
    &["gzip"],
    &["x-gzip"],
    &["deflate"],
    &["raw"],
    &["br"],
    &["zstd"],
    &["gzip", "br"],
    &["zstd", "deflate", "gzip"],
    &["identity", "br", "identity"],
];

#[tokio::test]
async fn what_was_packed_comes_out_again() {
    let noise: Vec<u8> = (0..300_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for body in [b"{}".to_vec(), br#"{"messages":[]}"#.repeat(30_000), noise] {
        for stack in STACKS {
            let packed = pack(body.clone(), stack).await;
            assert_eq!(unpacked(&packed, stack, MIB).await.unwrap(), body, "{stack:?}");
            assert!(unpacked(&packed, stack, body.len()).await.is_ok(), "{stack:?}: a body that just fits");
            let error = unpacked(&packed, stack, body.len() - 1).await.unwrap_err();
            assert!(matches!(error, GatewayError::TooLarge { .. }), "{stack:?}: {error}");
            for end in [0, 1, packed.len() / 2, packed.len() - 1].into_iter().filter(|end| *end > 0) {
                assert!(matches!(unpacked(&packed[..end], stack, MIB).await, Err(GatewayError::BadRequest(_))), "{stack:?} {end}");
            }
        }
    }
    let twice = [pack(b"one ".to_vec(), &["gzip"]).await, pack(b"two".to_vec(), &["gzip"]).await].concat();
    assert_eq!(unpacked(&twice, &["gzip"], MIB).await.unwrap(), "one two");
    let followed = [pack(b"one".to_vec(), &["br"]).await, b"{}".to_vec()].concat();
    assert!(unpacked(&followed, &["br"], MIB).await.unwrap_err().to_string().contains("after its end"));
    for stack in STACKS {
        assert!(unpacked(b"", stack, MIB).await.unwrap().is_empty());
        assert!(
            matches!(unpacked(b"{\"messages\": []} and no packing at all", stack, MIB).await, Err(GatewayError::BadRequest(_))),
            "{stack:?}"
        );
    }
}

#[tokio::test]
async fn a_bomb_is_ended_where_it_grows() {
    for stack in [&["gzip"][..], &["deflate"], &["raw"], &["br"], &["zstd"], &["gzip", "gzip"], &["br", "zstd"], &["gzip", "gzip", "gzip"]]
    {
        let bomb = pack(vec![0; 64 * MIB], stack).await;
        let budget = Arc::new(BodyBudget::default());
        let mut share = budget.share("a");
        let codings = read(&[&stack.join(",").replace("raw", "deflate")]).unwrap();
        let error = unpack(&bomb, &codings, &mut share, 2 * MIB).await.unwrap_err();
        assert!(matches!(error, GatewayError::TooLarge { .. }), "{stack:?}: {error}");
        // It took no more than the bound while it grew.
        assert!(share.bytes() <= 2 * MIB, "{stack:?}: {}", share.bytes());
    }
    // One that only grows on the way, and unpacks to nothing in the end.
    let empty = pack(Vec::new(), &["gzip"]).await;
    let members = pack(empty.repeat(500_000), &["gzip"]).await;
    assert!(members.len() < MIB, "{}", members.len());
    assert!(matches!(unpacked(&members, &["gzip", "gzip"], 2 * MIB).await, Err(GatewayError::TooLarge { .. })));
}

#[tokio::test]
async fn the_room_for_bodies_ends_it_as_well() {
    let budget = Arc::new(BodyBudget::default());
    let mut others = budget.share("a");
    others.grow(127 * MIB).unwrap();
    let packed = pack(vec![0; 4 * MIB], &["gzip"]).await;
    let error = unpack(&packed, &[Coding::Gzip], &mut budget.share("a"), 32 * MIB).await.unwrap_err();
    assert!(matches!(error, GatewayError::BodiesFull { is_own: true }), "{error}");
}

#[test]
fn the_names_of_codings_are_read() {
    assert_eq!(read(&[]).unwrap(), []);
    assert_eq!(read(&["identity", " IDENTITY ,"]).unwrap(), []);
    assert_eq!(read(&["GZip , br", "zstd"]).unwrap(), [Coding::Gzip, Coding::Brotli, Coding::Zstd]);
    for names in [&["compress"][..], &["gzip, lzma"], &["gzip,gzip,gzip,gzip"], &["gzip;q=1"], &["*"]] {
        assert!(matches!(read(names), Err(GatewayError::Encoded(_))), "{names:?}");
    }
    for name in ACCEPTED.split(", ") {
        assert_eq!(read(&[name]).unwrap().len(), 1, "{name}");
    }
}
