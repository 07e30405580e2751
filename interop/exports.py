"""Exports small vision transformers of timm, torchvision and Hugging Face with
random weights, by both exporters of PyTorch and at several opsets, each as a
folder that qvitc verify runs: model.onnx and test_data_set_0 with one input and
PyTorch's own answer.

    pip install torch torchvision timm transformers onnx onnxscript
    python interop/exports.py out/exports [NAME...]
    qvitc verify out/exports
    make models MODELS=out/exports

What an exporter cannot write is named and passed over.
"""
import logging
import os
import shutil
import sys
import warnings

import torch
from onnx import numpy_helper

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

VIT = dict(img_size=32, patch_size=8, embed_dim=48, depth=2, num_heads=3, num_classes=10)
SWIN = dict(img_size=32, patch_size=2, window_size=4, embed_dim=24, depths=(2, 2), num_heads=(2, 4), num_classes=10)
HF = dict(hidden_size=48, num_hidden_layers=2, num_attention_heads=3, intermediate_size=96, image_size=32, patch_size=8, num_labels=10)
HF_SWIN = dict(embed_dim=24, depths=[2, 2], num_heads=[2, 4], window_size=4, image_size=32, patch_size=2, num_labels=10)


def vit(**more):
    def build():
        from timm.layers import SwiGLUPacked
        from timm.models import vision_transformer as v
        more.update({k: {"SwiGLU": SwiGLUPacked, "scaled": v.ParallelScalingBlock, "things": v.ParallelThingsBlock}[x]
                     for k, x in more.items() if k in ("mlp_layer", "block_fn") and isinstance(x, str)})
        return v.VisionTransformer(**VIT, **more)
    return build


def timm(module, cls, base=VIT, **more):
    def build():
        import importlib
        return getattr(importlib.import_module("timm.models." + module), cls)(**base, **more)
    return build


def torchvision(cls, *args, **more):
    def build():
        import torchvision.models as m
        return getattr(m, cls)(*args, num_classes=10, **more)
    return build


def huggingface(kind, attention="sdpa", head="ForImageClassification", base=HF, **more):
    def build():
        import transformers
        config = getattr(transformers, kind + "Config")(**base, **more)
        config._attn_implementation = attention

        class Logits(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.m = getattr(transformers, kind + head)(config)

            def forward(self, x):
                return self.m(pixel_values=x).logits
        return Logits()
    return build


MODELS = {
    "timm-layerscale": vit(init_values=0.1, no_embed_class=True),
    "timm-registers": vit(reg_tokens=4, no_embed_class=True, class_token=False, global_pool="avg"),
    "timm-qknorm": vit(qk_norm=True),
    "timm-avg": vit(class_token=False, global_pool="avg", fc_norm=True),
    "timm-map": vit(class_token=False, global_pool="map"),
    "timm-prenorm": vit(pre_norm=True),
    "timm-swiglu": vit(mlp_layer="SwiGLU"),
    "timm-parallel": vit(block_fn="scaled"),
    "timm-parallel-things": vit(block_fn="things"),
    "timm-nobias": vit(qkv_bias=False),
    "timm-distilled": timm("deit", "VisionTransformerDistilled"),
    "timm-eva02": timm("eva", "Eva", use_rot_pos_emb=True, swiglu_mlp=True),
    "timm-eva": timm("eva", "Eva", init_values=0.1, qkv_fused=True),
    "timm-beit": timm("beit", "Beit", use_abs_pos_emb=False, use_rel_pos_bias=True, init_values=0.1),
    "timm-cait": timm("cait", "Cait"),
    "timm-xcit": timm("xcit", "Xcit"),
    "timm-swin": timm("swin_transformer", "SwinTransformer", SWIN),
    "timm-swinv2": timm("swin_transformer_v2", "SwinTransformerV2", SWIN),
    "tv-vit": torchvision("VisionTransformer", image_size=32, patch_size=8, num_layers=2, num_heads=3, hidden_dim=48, mlp_dim=96),
    "tv-swin": torchvision("SwinTransformer", [2, 2], 24, [2, 2], [2, 4], [4, 4]),
    "hf-vit-eager": huggingface("ViT", "eager"),
    "hf-vit": huggingface("ViT"),
    "hf-deit": huggingface("DeiT", "eager"),
    "hf-deit-teacher": huggingface("DeiT", head="ForImageClassificationWithTeacher"),
    "hf-dinov2": huggingface("Dinov2", mlp_ratio=2),
    "hf-dinov2-registers": huggingface("Dinov2WithRegisters", mlp_ratio=2),
    "hf-beit": huggingface("Beit"),
    "hf-ijepa": huggingface("IJepa"),
    "hf-swin": huggingface("Swin", base=HF_SWIN),
}
FORMS = [("ts", 13), ("ts", 14), ("ts", 17), ("ts", 20), ("dynamo", 18), ("dynamo", 20)]


def spread(model):
    """Gives every parameter a spread, so that no layer is the identity."""
    for p in model.parameters():
        if p.ndim <= 1:
            torch.nn.init.normal_(p, mean=p.detach().float().mean().item(), std=0.1)
        elif p.std() < 0.1:
            torch.nn.init.normal_(p, std=0.15)


def export(model, x, path, form, opset):
    names = dict(input_names=["x"], output_names=["y"], opset_version=opset)
    if form == "ts":
        torch.onnx.export(model, (x,), path, dynamo=False, dynamic_axes={"x": {0: "batch"}, "y": {0: "batch"}}, **names)
    else:
        torch.onnx.export(model, (x,), path, dynamo=True, external_data=False, verbose=False,
                          dynamic_shapes=({0: torch.export.Dim("batch")},), **names)


def main(out, wanted):
    for name, build in MODELS.items():
        if wanted and name not in wanted:
            continue
        torch.manual_seed(1)
        model = build().eval()
        spread(model)
        x = torch.randn(2, 3, 32, 32)
        with torch.no_grad():
            y = model(x)
        for form, opset in FORMS:
            folder = os.path.join(out, f"{name}-{form}{opset}")
            data = os.path.join(folder, "test_data_set_0")
            os.makedirs(data, exist_ok=True)
            try:
                export(model, x, os.path.join(folder, "model.onnx"), form, opset)
            except Exception as e:
                shutil.rmtree(folder)
                print(f"{name} {form} {opset}: not exported: {str(e).splitlines()[0][:120]}", flush=True)
                continue
            for file, t in (("input_0.pb", x), ("output_0.pb", y)):
                with open(os.path.join(data, file), "wb") as f:
                    f.write(numpy_helper.from_array(t.numpy(), "x" if t is x else "y").SerializeToString())
            print(f"{name} {form} {opset}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2:])
