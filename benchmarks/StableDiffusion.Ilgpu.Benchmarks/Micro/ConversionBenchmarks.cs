using System.Runtime.InteropServices;
using BenchmarkDotNet.Attributes;
using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Weights;

namespace StableDiffusion.Ilgpu.Benchmarks.Micro;

/// <summary>Conversions of a million values between the formats of files, host and arena.</summary>
public class ConversionBenchmarks
{
    private const int Count = 1 << 20;

    private readonly float[] singles = [.. Enumerable.Range(0, Count).Select(i => (i % 1000 / 500f) - 1)];
    private readonly ushort[] halves = new ushort[Count];

    /// <summary>fp32 in a file to fp16.</summary>
    [Benchmark]
    public void SingleToHalf() => FloatConversion.ToHalf(TensorType.F32, MemoryMarshal.AsBytes<float>(singles), halves);

    /// <summary>fp16 in a file to fp32.</summary>
    [Benchmark]
    public void HalfToSingle() => FloatConversion.ToSingle(TensorType.F16, MemoryMarshal.AsBytes<ushort>(halves), singles);

    /// <summary>bf16 in a file to fp16.</summary>
    [Benchmark]
    public void BrainToHalf() => FloatConversion.ToHalf(TensorType.BF16, MemoryMarshal.AsBytes<float>(singles)[..(2 * Count)], halves);

    /// <summary>fp32 on the host to fp16 in the arena.</summary>
    [Benchmark]
    public void Narrow() => Stored.Narrow<ushort>(singles, halves);

    /// <summary>fp16 in the arena to fp32 on the host.</summary>
    [Benchmark]
    public void Widen() => Stored.Widen<ushort>(halves, singles);
}
