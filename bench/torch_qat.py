#!/usr/bin/env python3
"""Times training steps of a DeiT in PyTorch, eager mode: float, or quantisation-aware as in Q-ViT.

  torch_qat.py serve JSON      child of `qvitc bench --train --vs torch`: prints one JSON line about itself, then for
                               every line N on stdin one JSON list of N durations in nanoseconds
  torch_qat.py [KEY=VALUE...]  alone: dim depth heads patch image channels classes weights acts batch threads steps;
                               default DeiT-Tiny, weights=4 acts=4 (0: float training), batch=8 threads=2 steps=10

A step: forward, cross-entropy with labels, backward, clip of the gradient norm to 1, Adam. Quantised: every weight with
a learned scale per output channel, every input of a linear layer with a learned scale (after GELU and for the image
also a zero point), q and k normalised per head and token, q, k, v and the attention map with a scale per head; patch
embedding and classifier at 8 bits. The float network uses PyTorch's fused attention.
"""
import json
import os
import resource
import sys
import time

DEFAULTS = dict(dim=192, depth=12, heads=3, patch=16, image=224, channels=3, classes=1000, weights=4, acts=4, batch=8, threads=2, compile=0)


def resident():
    try:
        with open("/proc/self/statm") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def build(o):
    """The network as an nn.Module that maps images to logits."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    class LSQ(torch.autograd.Function):
        """q = clip(round(x/scale) + zero, low, high); y = (q - zero)·scale, with the gradients of LSQ+."""

        @staticmethod
        def forward(ctx, x, scale, zero, low, high):
            u = x / scale
            if zero is not None:
                z = zero.round()
                q = u.round().add_(z).clamp_(low, high).sub_(z)
                inside = (u >= low - z) & (u <= high - z)
            else:
                q = u.round().clamp_(low, high)
                inside = (u >= low) & (u <= high)
            ctx.save_for_backward(u, q, inside, scale)
            ctx.zero = zero is not None
            return q * scale

        @staticmethod
        def backward(ctx, g):
            u, q, inside, scale = ctx.saved_tensors
            dx = g * inside
            ds = ((q - u * inside) * g).sum_to_size(scale.shape)
            dz = (dx - g).mul_(scale).sum().reshape(1) if ctx.zero else None
            return dx, ds, dz, None, None

    class Quant(nn.Module):
        """A learned quantiser; shape is that of its scale. Scales start at the first input."""

        def __init__(self, bits, signed, shape=(1,), zero=False):
            super().__init__()
            self.low, self.high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
            self.scale = nn.Parameter(torch.ones(shape))
            self.zero = nn.Parameter(torch.zeros(1)) if zero else None
            self.fresh = True

        def forward(self, x):
            if self.fresh:
                with torch.no_grad():
                    size = x.abs()
                    for d in range(x.dim()):
                        if self.scale.dim() != x.dim() or self.scale.shape[d] == 1:
                            size = size.mean(dim=d, keepdim=True)
                    self.scale.copy_((2 * size / self.high**0.5).reshape(self.scale.shape).clamp(min=1e-8))
                self.fresh = False
            return LSQ.apply(x, self.scale, self.zero, self.low, self.high)

    class Linear(nn.Linear):
        def __init__(self, i, o_, wbits, abits, zero=False):
            super().__init__(i, o_)
            self.qw, self.qx = Quant(wbits, True, (o_, 1)), Quant(abits, not zero, zero=zero)

        def forward(self, x):
            return F.linear(self.qx(x), self.qw(self.weight), self.bias)

    class Patches(nn.Conv2d):
        def __init__(self, i, o_, k):
            super().__init__(i, o_, k, k)
            self.qw, self.qx = Quant(8, True, (o_, 1, 1, 1)), Quant(8, False, zero=True)

        def forward(self, x):
            return self._conv_forward(self.qx(x), self.qw(self.weight), self.bias)

    quantised = o["weights"] > 0

    def linear(i, o_, zero=False, bits=None):
        return Linear(i, o_, bits or o["weights"], bits or o["acts"], zero) if quantised else nn.Linear(i, o_)

    class Attention(nn.Module):
        def __init__(self, dim, heads):
            super().__init__()
            self.heads, self.d = heads, dim // heads
            self.qkv, self.proj = linear(dim, 3 * dim), linear(dim, dim)
            if quantised:
                one = (1, heads, 1, 1)
                self.norm_q, self.norm_k = nn.LayerNorm(self.d), nn.LayerNorm(self.d)
                self.quant_q, self.quant_k, self.quant_v = (Quant(o["acts"], True, one) for _ in range(3))
                self.quant_p = Quant(o["acts"], False, one)

        def forward(self, x):
            b, n, c = x.shape
            q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, self.d).permute(2, 0, 3, 1, 4).unbind(0)
            if not quantised:
                y = F.scaled_dot_product_attention(q, k, v)
            else:
                q, k, v = self.quant_q(self.norm_q(q)), self.quant_k(self.norm_k(k)), self.quant_v(v)
                p = ((q @ k.transpose(-2, -1)) * self.d**-0.5).softmax(-1)
                y = self.quant_p(p) @ v
            return self.proj(y.transpose(1, 2).reshape(b, n, c))

    class Block(nn.Module):
        def __init__(self, dim, heads):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
            self.attn, self.fc1, self.fc2 = Attention(dim, heads), linear(dim, 4 * dim), linear(4 * dim, dim, zero=True)

        def forward(self, x):
            x = x + self.attn(self.norm1(x))
            return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))

    class DeiT(nn.Module):
        def __init__(self):
            super().__init__()
            dim, tokens = o["dim"], (o["image"] // o["patch"]) ** 2 + 1
            conv = Patches if quantised else lambda i, o_, k: nn.Conv2d(i, o_, k, k)
            self.patch = conv(o["channels"], dim, o["patch"])
            self.cls = nn.Parameter(0.02 * torch.randn(1, 1, dim))
            self.pos = nn.Parameter(0.02 * torch.randn(1, tokens, dim))
            self.blocks = nn.Sequential(*(Block(dim, o["heads"]) for _ in range(o["depth"])))
            self.norm, self.head = nn.LayerNorm(dim, eps=1e-6), linear(dim, o["classes"], bits=8)

        def forward(self, x):
            x = self.patch(x).flatten(2).transpose(1, 2)
            x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1) + self.pos
            return self.head(self.norm(self.blocks(x))[:, 0])

    return DeiT()


class Peer:
    def __init__(self, o):
        import torch

        bare = resident()
        start = time.perf_counter_ns()
        torch.set_num_threads(o["threads"])
        torch.set_flush_denormal(True)
        torch.manual_seed(0)
        self.torch, self.net = torch, build(o)
        self.x = torch.randn(o["batch"], o["channels"], o["image"], o["image"])
        self.y = torch.randint(0, o["classes"], (o["batch"],))
        self.net(self.x)  # scales start
        self.params = list(self.net.parameters())
        self.opt = torch.optim.Adam(self.params, lr=1e-5)
        if o.get("compile"):
            self.net = torch.compile(self.net)
        self.load = (time.perf_counter_ns() - start) / 1e6
        self.first = self.time() / 1e6
        self.time()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        self.over_bare = (peak - bare) / 1e6
        kind = f"w{o['weights']}a{o['acts']} step" if o["weights"] else "float step"
        self.name = f"torch {torch.__version__} {kind}"

    def time(self):
        start = time.perf_counter_ns()
        self.opt.zero_grad(set_to_none=True)
        loss = self.torch.nn.functional.cross_entropy(self.net(self.x), self.y)
        loss.backward()
        self.torch.nn.utils.clip_grad_norm_(self.params, 1.0)
        self.opt.step()
        return time.perf_counter_ns() - start


def serve(o):
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not get between the lines
    try:
        peer = Peer(o)
    except Exception as e:  # one line for the parent to show
        print(json.dumps({"error": " ".join(f"{type(e).__name__}: {e}".split())[:500]}), file=out, flush=True)
        return 1
    print(json.dumps({"name": peer.name, "load_ms": peer.load, "first_ms": peer.first, "overbare_mb": peer.over_bare}), file=out, flush=True)
    for line in sys.stdin:
        print(json.dumps([peer.time() for _ in range(int(line))]), file=out, flush=True)
    return 0


def main(args):
    o, steps = dict(DEFAULTS), 10
    for a in args:
        key, _, value = a.partition("=")
        if key == "steps":
            steps = int(value)
        elif key in o:
            o[key] = int(value)
        else:
            print(__doc__)
            return 2
    peer = Peer(o)
    times = sorted(peer.time() / 1e6 for _ in range(steps))
    median = times[(len(times) - 1) // 2]
    print(f"{peer.name}, batch {o['batch']}, {o['threads']} threads: best {times[0]:.0f}, median {median:.0f} ms = "
          f"{1000 * o['batch'] / median:.1f} images/s; +{peer.over_bare:.0f} MB at most")
    return 0


if __name__ == "__main__":
    sys.exit(serve(json.loads(sys.argv[2])) if sys.argv[1:2] == ["serve"] else main(sys.argv[1:]))
