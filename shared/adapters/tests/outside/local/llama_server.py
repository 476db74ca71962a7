"""llama.cpp's server with a tiny model of our own making. It prints its port and serves until it is killed.

The model knows which byte follows which, and nothing else: one layer of zeros, and an output that is a table of pairs.
Held to a schema by llama.cpp's grammar it answers with short JSON ("ok", false, 0.5); held to nothing it never ends.
"""

import socket
import tempfile
import time
from pathlib import Path

import numpy
import xllamacpp
from gguf import GGUFWriter, TokenType

CONTEXT = 32768
WIDTH = 320
INNER = 64
HEADS = 4

# The three tokens that every such vocabulary begins with, then one for each byte.
TOKENS = [b"<unk>", b"<s>", b"</s>"] + [b"<0x%02X>" % byte for byte in range(256)]
TYPES = [TokenType.UNKNOWN, TokenType.CONTROL, TokenType.CONTROL] + [TokenType.BYTE] * 256


def pairs():
    """How gladly a token (row) follows another one (column)."""
    table = numpy.random.default_rng(7).normal(0, 0.05, (len(TOKENS), WIDTH)).astype(numpy.float32)

    def row(character):
        return TOKENS.index(b"<0x%02X>" % ord(character))

    for ending in '",}]:':
        table[row(ending)] += 0.5
    for blank in " \n\t\\":
        table[row(blank)] -= 0.5
    for first, second, how_gladly in [
        ('"', "o", 1), ("o", "k", 1), ("k", '"', 1), ("[", "]", 1), (":", '"', 1), (":", "f", 0.5),
        ("0", ".", 1), (".", "5", 1), ("5", ",", 1),
    ]:
        table[row(second), row(first)] += how_gladly
    return table


def write(path):
    writer = GGUFWriter(path, "llama")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(TOKENS))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(TOKENS)
    writer.add_token_scores([0.0] * len(TOKENS))
    writer.add_token_types(TYPES)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_space_prefix(False)

    def zeros(*shape):
        return numpy.zeros(shape, numpy.float32)

    ones = numpy.ones(WIDTH, numpy.float32)
    tensors = {
        "token_embd": numpy.eye(len(TOKENS), WIDTH, dtype=numpy.float32),
        "blk.0.attn_norm": ones,
        "blk.0.ffn_norm": ones,
        **{f"blk.0.attn_{part}": zeros(WIDTH, WIDTH) for part in ("q", "k", "v", "output")},
        "blk.0.ffn_gate": zeros(INNER, WIDTH),
        "blk.0.ffn_up": zeros(INNER, WIDTH),
        "blk.0.ffn_down": zeros(WIDTH, INNER),
        "output_norm": ones,
        "output": pairs(),
    }
    for name, values in tensors.items():
        writer.add_tensor(f"{name}.weight", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


with tempfile.TemporaryDirectory() as folder:
    model = Path(folder) / "pairs.gguf"
    write(model)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = xllamacpp.CommonParams()
    settings.model.path = str(model)
    settings.hostnames = ["127.0.0.1"]
    settings.port = port
    settings.api_keys = ["secret"]
    settings.n_ctx = CONTEXT
    settings.n_parallel = 2
    settings.cpuparams.n_threads = 2
    settings.warmup = False
    server = xllamacpp.Server(settings)
print(port, flush=True)
while True:
    time.sleep(3600)
