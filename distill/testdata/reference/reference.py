"""Writes the reference states that reference_test.go compares with.

    python reference.py        (needs torch and numpy; any recent version)

One DeiT block and one Swin block (shifted windows, position bias, mask), each in
float and quantised, with IRM on q and k, a pooling head and three classes, are
computed in float64 from float32 values. Gradients come from autograd; quantisers
are written with straight-through rounding, so their gradients are derived here
and not copied from the formulas of the package. Each file holds

    p.NAME   parameters at the start          g.NAME   gradient of the first loss
    x, label the ten batches                  logits   of the first batch
    loss     of each step                     w.NAME   parameters after ten steps

The step is that of package distill: gradients of scales in log alpha, global norm
clipped at 1, AdamW with decay on weights alone. Seeds are taken until no value
lies so close to a rounding tie that float32 could fall to the other side.
"""
import numpy as np
import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
STEPS, BATCH, CLASSES = 10, 6, 3
LR, B1, B2, EPS, DECAY, CLIP, ZERO_LR, MIN_SCALE = 1e-2, 0.9, 0.999, 1e-4, 0.05, 1.0, 10.0, 1e-6


def through(x, y):
    """y in the forward pass, the gradient of x in the backward pass."""
    return x + (y - x).detach()


class Net:
    def __init__(self, kind, bits, seed):
        self.kind, self.bits = kind, bits
        self.rng = np.random.default_rng(seed)
        self.p, self.role, self.range = {}, {}, {}
        self.margin = 1.0
        self.dim, self.heads, self.tokens, self.mlp = (8, 2, 5, 16) if kind == "deit" else (6, 2, 16, 12)
        d, m = self.dim, self.mlp
        self.linears = {"qkv": (d, 3 * d), "proj": (d, d), "fc1": (d, m), "fc2": (m, d)}
        for n, (k, o) in self.linears.items():
            self.add("w" + n, self.rng.normal(0, 0.4, (k, o)), "weight")
            self.add("b" + n, self.rng.normal(0, 0.1, o), "bias")
        for n, width in {"n1": d, "n2": d, "n3": d, "q": d // self.heads, "k": d // self.heads}.items():
            self.add("g" + n, self.rng.uniform(0.7, 1.3, width), "norm")
            self.add("b" + n, self.rng.normal(0, 0.1, width), "norm")
        if kind == "swin":
            self.add("pos", self.rng.normal(0, 0.3, (1, self.heads, 4, 4)), "embed")
        self.add("head", self.rng.normal(0, 0.15, (self.tokens * d, CLASSES)), "weight")
        self.add("bhead", self.rng.normal(0, 0.1, CLASSES), "bias")
        if bits:
            qp = 2 ** (bits - 1) - 1
            for n in self.linears:
                w = self.p["w" + n]
                self.add("sw" + n, np.abs(w).max(0) / (qp + 0.3), "scale")
                self.add("sx" + n, np.array(2.2 / qp), "scale")
            self.add("zxfc2", np.array(-qp * 0.45), "zero")
            self.range["zxfc2"] = (-qp - 1, qp)
            self.p["sxfc2"] = np.float32(1.4 / qp).astype(np.float64)
            for n, s in {"q": 2.0 / qp, "k": 2.0 / qp, "v": 2.0 / qp, "p": 0.9 / (2 * qp + 1)}.items():
                self.add("s" + n, np.full(self.heads, s) * self.rng.uniform(0.9, 1.1, self.heads), "scale")

    def add(self, name, value, role):
        self.p[name] = value.astype(np.float32).astype(np.float64)
        self.role[name] = role

    def quant(self, x, scale, axis, signed=True, zero=None):
        """FakeQuant of ONNX domain ai.qvitc; axis < 0: one scale."""
        if not self.bits:
            return x
        lo, hi = (-(2 ** (self.bits - 1)), 2 ** (self.bits - 1) - 1) if signed else (0, 2**self.bits - 1)
        shape = [1] * x.dim()
        if axis >= 0:
            shape[axis] = -1
        a = scale.reshape(shape) if axis >= 0 else scale
        z = torch.zeros(()) if zero is None else through(zero, torch.round(zero))
        u = x / a
        with torch.no_grad():
            frac = (u - torch.floor(u) - 0.5).abs()
            inside = (u + z > lo - 1) & (u + z < hi + 1)
            edge = (u + z - hi).abs()
            if signed:  # what is never negative stays on one side of code 0
                edge = torch.minimum(edge, (u + z - lo).abs())
            worst = torch.where(inside, torch.minimum(frac, edge), torch.ones_like(u)).min()
            self.margin = min(self.margin, float(worst))
            if zero is not None:
                self.margin = min(self.margin, float((zero - torch.floor(zero) - 0.5).abs()))
        clipped = torch.clamp(u + z, lo, hi)
        q = through(clipped, torch.clamp(torch.round(u) + z, lo, hi))
        return (q - z) * a

    def linear(self, x, t, n):
        if self.bits:
            x = self.quant(x, t["sx" + n], -1, zero=t.get("zx" + n))
            w = self.quant(t["w" + n], t["sw" + n], 1)
        else:
            w = t["w" + n]
        return x @ w + t["b" + n]

    def norm(self, x, t, n, eps=1e-6):
        return F.layer_norm(x, x.shape[-1:], t["g" + n], t["b" + n], eps)

    def attention(self, x, t, mask=None):
        b, n, c = x.shape
        h, d = self.heads, c // self.heads
        q, k, v = self.linear(x, t, "qkv").reshape(b, n, 3, h, d).permute(2, 0, 3, 1, 4)
        q, k = self.norm(q, t, "q", 1e-5), self.norm(k, t, "k", 1e-5)
        if self.bits:
            q, k, v = self.quant(q, t["sq"], 1), self.quant(k, t["sk"], 1), self.quant(v, t["sv"], 1)
        s = q @ k.transpose(-1, -2) * float(np.float32(d**-0.5))
        if self.kind == "swin":
            s = s + t["pos"]
            w = mask.shape[0]
            s = (s.reshape(b // w, w, h, n, n) + mask[None, :, None]).reshape(b, h, n, n)
        p = torch.softmax(s, -1)
        if self.bits:
            p = self.quant(p, t["sp"], 1, signed=False)
        return self.linear((p @ v).transpose(1, 2).reshape(b, n, c), t, "proj")

    def forward(self, x, t):
        y = self.norm(x, t, "n1")
        if self.kind == "deit":
            y = self.attention(y, t)
        else:  # a 4 x 4 grid, windows of 2 x 2, shifted by one
            b, c = x.shape[0], self.dim
            g = torch.roll(y.reshape(b, 4, 4, c), (-1, -1), (1, 2))
            g = g.reshape(b, 2, 2, 2, 2, c).transpose(2, 3).reshape(b * 4, 4, c)
            g = self.attention(g, t, shift_mask())
            g = g.reshape(b, 2, 2, 2, 2, c).transpose(2, 3).reshape(b, 4, 4, c)
            y = torch.roll(g, (1, 1), (1, 2)).reshape(b, 16, c)
        x = x + y
        x = x + self.linear(F.gelu(self.linear(self.norm(x, t, "n2"), t, "fc1")), t, "fc2")
        return self.norm(x, t, "n3").reshape(x.shape[0], -1) @ t["head"] + t["bhead"]


def shift_mask():
    """-100 between tokens of a window that the shift brought together."""
    region = torch.zeros(4, 4)
    for i, rows in enumerate((slice(0, 2), slice(2, 3), slice(3, 4))):
        for j, cols in enumerate((slice(0, 2), slice(2, 3), slice(3, 4))):
            region[rows, cols] = 3 * i + j
    w = region.reshape(2, 2, 2, 2).transpose(1, 2).reshape(4, 4)
    return torch.where(w[:, None, :] == w[:, :, None], 0.0, -100.0)


def run(kind, bits, seed):
    net = Net(kind, bits, seed)
    x = net.rng.normal(0, 1, (STEPS, BATCH, net.tokens, net.dim)).astype(np.float32)
    label = net.rng.integers(0, CLASSES, (STEPS, BATCH))
    out = {"p." + n: v.astype(np.float32) for n, v in net.p.items()}
    out["x"], out["label"] = x, label.astype(np.int32)
    p = {n: v.copy() for n, v in net.p.items()}
    m, v = {n: np.zeros_like(a) for n, a in p.items()}, {n: np.zeros_like(a) for n, a in p.items()}
    losses = []
    for step in range(STEPS):
        t = {n: torch.tensor(a, requires_grad=True) for n, a in p.items()}
        logits = net.forward(torch.tensor(x[step].astype(np.float64)), t)
        loss = F.cross_entropy(logits, torch.tensor(label[step]))
        loss.backward()
        losses.append(loss.item())
        g = {n: a.grad.numpy().copy() for n, a in t.items()}
        if step == 0:
            out["logits"] = logits.detach().numpy().astype(np.float32)
            out |= {"g." + n: a.astype(np.float32) for n, a in g.items()}
        for n in g:
            if net.role[n] == "scale":
                g[n] = g[n] * p[n]
        norm = np.sqrt(sum((a**2).sum() for a in g.values()))
        clip = min(1.0, CLIP / norm)
        for n, a in g.items():
            a = a * clip
            m[n] = B1 * m[n] + (1 - B1) * a
            v[n] = B2 * v[n] + (1 - B2) * a * a
            u = m[n] / (1 - B1 ** (step + 1)) / (np.sqrt(v[n] / (1 - B2 ** (step + 1))) + EPS)
            role = net.role[n]
            if role == "scale":
                p[n] = np.maximum(MIN_SCALE, p[n] * np.exp(-LR * u))
            elif role == "zero":
                p[n] = np.clip(p[n] - LR * ZERO_LR * u, *net.range[n])
            else:
                p[n] = p[n] - LR * (u + (DECAY if role == "weight" else 0) * p[n])
    out["loss"] = np.array(losses, dtype=np.float32)
    out |= {"w." + n: a.astype(np.float32) for n, a in p.items()}
    return net.margin, out


for kind, bits in (("deit", 0), ("deit", 4), ("swin", 0), ("swin", 3)):
    for seed in range(200):
        margin, out = run(kind, bits, seed)
        if margin > 2e-5:
            break
    else:
        raise SystemExit("no seed keeps its distance from ties")
    name = f"{kind}-{'float' if not bits else f'w{bits}a{bits}'}.npz"
    np.savez_compressed(name, **out)
    print(name, "seed", seed, "margin %.1e" % margin, "loss", out["loss"][0], "to", out["loss"][-1])
