#!/usr/bin/env python3
"""Stable Diffusion 1.5's and 2.1's UNet and VAE decoder in plain PyTorch, timed: the peer of a GPU.

The same architecture and sizes as `-- model` of our benchmarks, with random weights, in fp16, channels last, with
scaled_dot_product_attention; eager, or compiled by torch.compile. Needs Python 3.8 and PyTorch 2, nothing else.

    python3 pytorch.py --model sd15 --size 512 --pictures 1 --compile none

prints one line of JSON. A UNet step is one forward of both halves of the guidance (batch 2 for each picture), whole: the
keys and values of the prompt and the time embedding are computed in it, as people run it; ours computes them before (under
1 % of the operations). Times are CUDA events around each run after a warm-up, medians. Peak memory is what PyTorch's
allocator handed out, without the driver's context.

Modules are named as in diffusers, so that a checkpoint's tensors would load.
"""

import argparse
import json
import math
import platform
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

UNET_PARAMETERS = {"sd15": 859_520_964, "sd21": 865_910_724}
DECODER_PARAMETERS = 49_490_199


class Config:
    """What the published configurations say of a UNet."""

    def __init__(self, channels, layers, heads, context, linear_projection, groups=32):
        self.channels = channels
        self.layers = layers
        self.heads = heads
        self.context = context
        self.linear_projection = linear_projection
        self.groups = groups


CONFIGS = {
    "sd15": Config((320, 640, 1280, 1280), 2, (8, 8, 8, 8), 768, False),
    "sd21": Config((320, 640, 1280, 1280), 2, (5, 10, 20, 20), 1024, True),
}
TOKENS = 77
LATENT_CHANNELS = 4
PIXELS_PER_LATENT = 8


class ResnetBlock(nn.Module):
    def __init__(self, inputs, outputs, time_channels, groups, eps):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, inputs, eps)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        if time_channels:
            self.time_emb_proj = nn.Linear(time_channels, outputs)
        self.norm2 = nn.GroupNorm(groups, outputs, eps)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else None

    def forward(self, x, time_embedding=None):
        h = self.conv1(F.silu(self.norm1(x)))
        if time_embedding is not None:
            h = h + self.time_emb_proj(F.silu(time_embedding))[:, :, None, None]
        h = self.conv2(F.silu(self.norm2(h)))
        return h + (x if self.conv_shortcut is None else self.conv_shortcut(x))


class Attention(nn.Module):
    def __init__(self, channels, context, heads, bias=False):
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(channels, channels, bias)
        self.to_k = nn.Linear(context, channels, bias)
        self.to_v = nn.Linear(context, channels, bias)
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, x, context):
        q, k, v = self.split(self.to_q(x)), self.split(self.to_k(context)), self.split(self.to_v(context))
        h = F.scaled_dot_product_attention(q, k, v)
        return self.to_out[0](h.transpose(1, 2).reshape(x.shape))

    def split(self, x):
        return x.view(x.shape[0], x.shape[1], self.heads, -1).transpose(1, 2)


class Geglu(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.proj = nn.Linear(channels, 8 * channels)

    def forward(self, x):
        h, gate = self.proj(x).chunk(2, dim=-1)
        return h * F.gelu(gate)


class FeedForward(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.net = nn.ModuleList([Geglu(channels), nn.Identity(), nn.Linear(4 * channels, channels)])

    def forward(self, x):
        return self.net[2](self.net[0](x))


class TransformerBlock(nn.Module):
    def __init__(self, channels, context, heads):
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attn1 = Attention(channels, channels, heads)
        self.norm2 = nn.LayerNorm(channels)
        self.attn2 = Attention(channels, context, heads)
        self.norm3 = nn.LayerNorm(channels)
        self.ff = FeedForward(channels)

    def forward(self, x, context):
        n = self.norm1(x)
        x = self.attn1(n, n) + x
        x = self.attn2(self.norm2(x), context) + x
        return self.ff(self.norm3(x)) + x


class Transformer(nn.Module):
    def __init__(self, channels, heads, config):
        super().__init__()
        self.linear = config.linear_projection
        self.norm = nn.GroupNorm(config.groups, channels, 1e-6)
        self.proj_in = self.projection(channels)
        self.transformer_blocks = nn.ModuleList([TransformerBlock(channels, config.context, heads)])
        self.proj_out = self.projection(channels)

    def projection(self, channels):
        return nn.Linear(channels, channels) if self.linear else nn.Conv2d(channels, channels, 1)

    def forward(self, x, context):
        n, c, height, width = x.shape
        h = self.norm(x)
        if not self.linear:
            h = self.proj_in(h)
        # Of a channels-last picture this is a view.
        h = h.permute(0, 2, 3, 1).reshape(n, height * width, c)
        if self.linear:
            h = self.proj_in(h)
        h = self.transformer_blocks[0](h, context)
        if self.linear:
            h = self.proj_out(h)
        h = h.reshape(n, height, width, c).permute(0, 3, 1, 2)
        if not self.linear:
            h = self.proj_out(h)
        return h + x


class Downsample(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x):
        return self.conv(x)


class Upsample(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Block(nn.Module):
    """One level: residual blocks, transformers where the level has any, and a sampler at its end."""

    def __init__(self, inputs, outputs, heads, config, sampler):
        super().__init__()
        time_channels = 4 * config.channels[0]
        self.resnets = nn.ModuleList([ResnetBlock(i, outputs, time_channels, config.groups, 1e-5) for i in inputs])
        self.attentions = nn.ModuleList([Transformer(outputs, heads, config) for _ in inputs]) if heads else None
        if isinstance(sampler, Downsample):
            self.downsamplers = nn.ModuleList([sampler])
        elif isinstance(sampler, Upsample):
            self.upsamplers = nn.ModuleList([sampler])

    def layer(self, i, x, time_embedding, context):
        x = self.resnets[i](x, time_embedding)
        return x if self.attentions is None else self.attentions[i](x, context)


class MidBlock(nn.Module):
    def __init__(self, channels, heads, config):
        super().__init__()
        time_channels = 4 * config.channels[0]
        self.resnets = nn.ModuleList([ResnetBlock(channels, channels, time_channels, config.groups, 1e-5) for _ in range(2)])
        self.attentions = nn.ModuleList([Transformer(channels, heads, config)])

    def forward(self, x, time_embedding, context):
        x = self.attentions[0](self.resnets[0](x, time_embedding), context)
        return self.resnets[1](x, time_embedding)


class TimeEmbedding(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.linear_1 = nn.Linear(channels, 4 * channels)
        self.linear_2 = nn.Linear(4 * channels, 4 * channels)

    def forward(self, x):
        return self.linear_2(F.silu(self.linear_1(x)))


class UNet(nn.Module):
    def __init__(self, config):
        super().__init__()
        channels, layers = config.channels, config.layers
        self.config = config
        self.conv_in = nn.Conv2d(LATENT_CHANNELS, channels[0], 3, padding=1)
        self.time_embedding = TimeEmbedding(channels[0])
        levels = len(channels)
        skips = [channels[0]]
        down = []
        for level, outputs in enumerate(channels):
            last = level == levels - 1
            inputs = [channels[max(level - 1, 0)]] + [outputs] * (layers - 1)
            down.append(Block(inputs, outputs, 0 if last else config.heads[level], config, None if last else Downsample(outputs)))
            skips += [outputs] * (layers if last else layers + 1)
        self.down_blocks = nn.ModuleList(down)
        self.mid_block = MidBlock(channels[-1], config.heads[-1], config)
        up, x = [], channels[-1]
        for level in reversed(range(levels)):
            outputs, inputs = channels[level], []
            for _ in range(layers + 1):
                inputs.append(x + skips.pop())
                x = outputs
            attends = level < levels - 1
            up.append(Block(inputs, outputs, config.heads[level] if attends else 0, config, Upsample(outputs) if level > 0 else None))
        self.up_blocks = nn.ModuleList(up)
        self.conv_norm_out = nn.GroupNorm(config.groups, channels[0], 1e-5)
        self.conv_out = nn.Conv2d(channels[0], LATENT_CHANNELS, 3, padding=1)
        half = channels[0] // 2
        frequencies = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32) / half)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, sample, timestep, context):
        # fp32, whatever the weights are: half precision cannot tell timesteps of hundreds apart.
        angles = timestep.float()[:, None] * self.frequencies.float()[None]
        t = self.time_embedding(torch.cat([angles.cos(), angles.sin()], dim=-1).to(sample.dtype))
        x = self.conv_in(sample)
        skips = [x]
        for block in self.down_blocks:
            for i in range(len(block.resnets)):
                x = block.layer(i, x, t, context)
                skips.append(x)
            if hasattr(block, "downsamplers"):
                x = block.downsamplers[0](x)
                skips.append(x)
        x = self.mid_block(x, t, context)
        for block in self.up_blocks:
            for i in range(len(block.resnets)):
                x = block.layer(i, torch.cat([x, skips.pop()], dim=1), t, context)
            if hasattr(block, "upsamplers"):
                x = block.upsamplers[0](x)
        return self.conv_out(F.silu(self.conv_norm_out(x)))


class DecoderAttention(Attention):
    """One head over all pixels."""

    def __init__(self, channels, groups):
        super().__init__(channels, channels, 1, bias=True)
        self.group_norm = nn.GroupNorm(groups, channels, 1e-6)

    def forward(self, x):
        n, c, height, width = x.shape
        h = self.group_norm(x).permute(0, 2, 3, 1).reshape(n, height * width, c)
        h = super().forward(h, h)
        return h.reshape(n, height, width, c).permute(0, 3, 1, 2) + x


class DecoderMid(nn.Module):
    def __init__(self, channels, groups):
        super().__init__()
        self.resnets = nn.ModuleList([ResnetBlock(channels, channels, 0, groups, 1e-6) for _ in range(2)])
        self.attentions = nn.ModuleList([DecoderAttention(channels, groups)])

    def forward(self, x):
        return self.resnets[1](self.attentions[0](self.resnets[0](x)))


class DecoderBlock(nn.Module):
    def __init__(self, inputs, outputs, layers, groups, enlarges):
        super().__init__()
        self.resnets = nn.ModuleList(
            [ResnetBlock(inputs if i == 0 else outputs, outputs, 0, groups, 1e-6) for i in range(layers)])
        self.upsamplers = nn.ModuleList([Upsample(outputs)] if enlarges else [])

    def forward(self, x):
        for part in [*self.resnets, *self.upsamplers]:
            x = part(x)
        return x


class DecoderLayers(nn.Module):
    def __init__(self, channels, layers, groups):
        super().__init__()
        levels = list(reversed(channels))
        self.conv_in = nn.Conv2d(LATENT_CHANNELS, levels[0], 3, padding=1)
        self.mid_block = DecoderMid(levels[0], groups)
        self.up_blocks = nn.ModuleList([
            DecoderBlock(levels[max(i - 1, 0)], outputs, layers + 1, groups, i < len(levels) - 1) for i, outputs in enumerate(levels)])
        self.conv_norm_out = nn.GroupNorm(groups, levels[-1], 1e-6)
        self.conv_out = nn.Conv2d(levels[-1], 3, 3, padding=1)

    def forward(self, x):
        x = self.mid_block(self.conv_in(x))
        for block in self.up_blocks:
            x = block(x)
        return self.conv_out(F.silu(self.conv_norm_out(x)))


class Decoder(nn.Module):
    def __init__(self, channels=(128, 256, 512, 512), layers=2, groups=32):
        super().__init__()
        self.post_quant_conv = nn.Conv2d(LATENT_CHANNELS, LATENT_CHANNELS, 1)
        self.decoder = DecoderLayers(channels, layers, groups)

    def forward(self, z):
        return self.decoder(self.post_quant_conv(z))


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def make(module, expected, device, dtype):
    """A module with its random weights on the device; the number of parameters must be the published one."""
    count = parameters(module)
    if count != expected:
        sys.exit(f"pytorch.py: {type(module).__name__} has {count:,} parameters, the published one {expected:,}: nothing is timed")
    return module.to(device=device, dtype=dtype, memory_format=torch.channels_last).eval().requires_grad_(False)


def measure(run, runs, device):
    """Milliseconds of a run: the median, each by the device's own clock, which includes what it waits for the host."""
    for _ in range(3):
        run()
    if device.type != "cuda":
        times = []
        for _ in range(runs):
            start = time.perf_counter()
            run()
            times.append((time.perf_counter() - start) * 1000)
        return statistics.median(times)
    events = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(runs)]
    torch.cuda.synchronize()
    for start, end in events:
        start.record()
        run()
        end.record()
    torch.cuda.synchronize()
    return statistics.median(start.elapsed_time(end) for start, end in events)


def draw_picture(unet, decoder, latent, context, steps):
    """Euler's steps with guidance, then the decode; text encoder and file are not in it."""
    betas = torch.linspace(0.00085 ** 0.5, 0.012 ** 0.5, 1000, dtype=torch.float64) ** 2
    alphas = torch.cumprod(1 - betas, 0)
    timesteps = torch.linspace(999, 0, steps).round().long()
    sigmas = torch.cat([((1 - alphas[timesteps]) / alphas[timesteps]).sqrt(), torch.zeros(1, dtype=torch.float64)]).tolist()
    x = latent * sigmas[0]
    for i, timestep in enumerate(timesteps.tolist()):
        scaled = x / (sigmas[i] ** 2 + 1) ** 0.5
        t = torch.full((2 * x.shape[0],), timestep, device=x.device)
        batch = torch.cat([scaled, scaled]).contiguous(memory_format=torch.channels_last)
        plain, prompted = unet(batch, t, context).chunk(2)
        x = x + (plain + 7.0 * (prompted - plain)) * (sigmas[i + 1] - sigmas[i])
    # One picture at a time, as our pipeline decodes.
    return [decoder(z.contiguous(memory_format=torch.channels_last)).float().cpu() for z in (x / 0.18215).split(1)]


def main():
    parser = argparse.ArgumentParser(description="Time Stable Diffusion's UNet and VAE decoder in PyTorch.")
    parser.add_argument("--model", choices=sorted(CONFIGS), default="sd15")
    parser.add_argument("--size", type=int, default=512, help="width and height of the picture in pixels")
    parser.add_argument("--pictures", type=int, default=1, help="pictures of a batch; the UNet's batch is twice as many")
    parser.add_argument("--compile", choices=["none", "default", "reduce-overhead", "max-autotune"], default="none")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--picture-steps", type=int, default=20, help="steps of the whole picture; 0: none is drawn")
    parser.add_argument("--device", default="cuda")
    arguments = parser.parse_args()
    if not hasattr(F, "scaled_dot_product_attention"):
        sys.exit(f"pytorch.py: PyTorch {torch.__version__} has no scaled_dot_product_attention; 2.0 or newer is needed")
    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        sys.exit("pytorch.py: PyTorch sees no CUDA device")
    if arguments.size % 64 != 0:
        sys.exit(f"pytorch.py: --size {arguments.size} cannot be used; valid: multiples of 64")

    # Half precision is slow or missing on processors, which are for trying the script out.
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    torch.backends.cudnn.benchmark = True
    torch.manual_seed(42)
    config, side, items = CONFIGS[arguments.model], arguments.size // PIXELS_PER_LATENT, 2 * arguments.pictures
    result = {
        "peer": "pytorch " + ("eager" if arguments.compile == "none" else f"torch.compile {arguments.compile}"),
        "model": arguments.model,
        "size": arguments.size,
        "unet_batch": items,
        "runs": arguments.runs,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or "cpu",
        "torch": torch.__version__,
        "type": str(dtype).replace("torch.", ""),
    }
    with torch.inference_mode():
        unet = make(UNet(config), UNET_PARAMETERS[arguments.model], device, dtype)
        decoder = make(Decoder(), DECODER_PARAMETERS, device, dtype)
        if arguments.compile != "none":
            unet = torch.compile(unet, mode=arguments.compile, fullgraph=True)
            decoder = torch.compile(decoder, mode=arguments.compile, fullgraph=True)
        options = {"device": device, "dtype": dtype}
        sample = torch.randn(items, LATENT_CHANNELS, side, side, **options).contiguous(memory_format=torch.channels_last)
        timestep = torch.full((items,), 500, device=device)
        context = torch.randn(items, TOKENS, config.context, **options)
        latent = torch.randn(1, LATENT_CHANNELS, side, side, **options).contiguous(memory_format=torch.channels_last)
        result["unet_step_ms"] = measure(lambda: unet(sample, timestep, context), arguments.runs, device)
        result["steps_per_s"] = 1000 / result["unet_step_ms"]
        result["vae_decode_ms"] = measure(lambda: decoder(latent), arguments.runs, device)
        if arguments.picture_steps > 0:
            start_latent = torch.randn(arguments.pictures, LATENT_CHANNELS, side, side, **options)

            def draw():
                return draw_picture(unet, decoder, start_latent, context, arguments.picture_steps)

            draw()
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
                torch.cuda.synchronize()
            start = time.perf_counter()
            draw()
            result["picture_steps"] = arguments.picture_steps
            result["picture_s"] = time.perf_counter() - start
        if device.type == "cuda":
            result["peak_device_bytes"] = torch.cuda.max_memory_allocated()
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
