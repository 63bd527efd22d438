//! The calls of a few services as one enum each: what is asked, what is answered, and the way from the one to the other.

/// Makes the enums of requests and answers of some services, with a row for each call: the variant, the messages, the client of the
/// [`Connection`](crate::connect::Connection), its function, and the method. `$answer` is the variant of [`Answer`](super::Answer) that holds them.
macro_rules! calls {
    (
        $services:literal, $Request:ident, $Answer:ident, $answer:ident;
        $($name:ident, $request:ident, $response:ident, $client:ident, $call:ident, $method:ident;)*
    ) => {
        #[doc = concat!("A call of ", $services, ".")]
        #[derive(Clone, Debug)]
        #[expect(missing_docs, reason = "each variant is the call of the same name")]
        pub enum $Request {
            $($name($request),)*
        }

        #[doc = concat!("The answer to a call of ", $services, " that was not refused.")]
        #[derive(Clone, Debug, PartialEq)]
        #[expect(missing_docs, reason = "each variant is the answer to the call of the same name")]
        pub enum $Answer {
            $($name($response),)*
        }

        impl $Answer {
            /// The header, which every answer has.
            #[must_use]
            pub const fn header(&self) -> Option<&ResponseHeader> {
                match self {
                    $(Self::$name(response) => response.header.as_ref(),)*
                }
            }

            /// The header, to be changed.
            pub const fn header_mut(&mut self) -> &mut Option<ResponseHeader> {
                match self {
                    $(Self::$name(response) => &mut response.header,)*
                }
            }
        }

        impl $Request {
            /// Which call it is.
            #[must_use]
            pub const fn method(&self) -> Method {
                match self {
                    $(Self::$name(_) => Method::$method,)*
                }
            }

            async fn call(self, to: &mut Connection) -> Result<Answer> {
                Ok(match self {
                    $(Self::$name(message) => {
                        let request = to.wallet.sign(message)?;
                        Answer::of(to.$client.$call(request).await, |answer| Answer::$answer($Answer::$name(answer)))
                    })*
                })
            }
        }
    };
}

pub(super) use calls;
