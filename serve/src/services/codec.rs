//! The codec of calls whose responses are encoded already.

use crate::services::convert::response::EncodedResponse;
use bytes::BufMut;
use prost::Message;
use std::marker::PhantomData;
use tonic::Status;
use tonic::codec::{Codec, EncodeBuf, Encoder};
use tonic_prost::ProstDecoder;

/// Decodes requests of type `R` and writes the bytes of responses as they are.
pub struct EncodedResponseCodec<R>(PhantomData<R>);

impl<R> Default for EncodedResponseCodec<R> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<R: Message + Default + Send + 'static> Codec for EncodedResponseCodec<R> {
    type Encode = EncodedResponse;
    type Decode = R;
    type Encoder = EncodedResponseEncoder;
    type Decoder = ProstDecoder<R>;

    fn encoder(&mut self) -> Self::Encoder {
        EncodedResponseEncoder
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::default()
    }
}

/// Writes the bytes of responses as they are.
pub struct EncodedResponseEncoder;

impl Encoder for EncodedResponseEncoder {
    type Item = EncodedResponse;
    type Error = Status;

    fn encode(&mut self, response: EncodedResponse, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&response.bytes);
        Ok(())
    }
}
