"""The fixture that the suite of `etcetra` asks for: a client of the server under test, whose keys go when a test ends."""

import os

import pytest
from etcetra import EtcdClient, HostPortPair


@pytest.fixture
async def etcd():
    client = EtcdClient(HostPortPair("127.0.0.1", int(os.environ["TOMBOLO_CLIENTS_PORT"])))
    try:
        yield client
    finally:
        async with client.connect() as communicator:
            await communicator.delete_prefix("/test")
