using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using BenchmarkDotNet.Attributes;
using StableDiffusion.Ilgpu.Kernels.Leaves;
using StableDiffusion.Ilgpu.Kernels.Leaves.Simd;

namespace StableDiffusion.Ilgpu.Benchmarks.Micro;

/// <summary>The SIMD leaves at the machine's widest vectors, on the sizes that a tile of a matrix product has.</summary>
public class LeafBenchmarks
{
    private const int Rows = 256;

    private readonly float[] source = Filled(Rows * Tile.SourcePitch);
    private readonly float[] panel = Filled(Tile.Depth * Tile.Columns);
    private readonly float[] sums = Filled(Rows * Tile.Columns);
    private readonly float[] bias = Filled(Tile.Columns);
    private readonly ushort[] stored = new ushort[Rows * Tile.Depth];
    private Action multiply = () => { };
    private Action widen = () => { };
    private Action finish = () => { };

    /// <summary>Chooses the width.</summary>
    [GlobalSetup]
    public void ChooseWidth()
    {
        TensorPrimitives.ConvertToHalf(Filled(stored.Length), MemoryMarshal.Cast<ushort, Half>(stored.AsSpan()));
        (multiply, widen, finish) = ProcessorVectors.Bits switch
        {
            512 => Leaves<Simd512>(),
            256 => Leaves<Simd256>(),
            _ => Leaves<Simd128>(),
        };
    }

    /// <summary>256 x 32 x 256: 4.19 MFLOP, all operands in the caches.</summary>
    [Benchmark]
    public void Multiply() => multiply();

    /// <summary>256 rows of 256 values from fp16 to fp32.</summary>
    [Benchmark]
    public void Widen() => widen();

    /// <summary>256 rows of 32 sums: bias, residual, rounding to fp16.</summary>
    [Benchmark]
    public void Finish() => finish();

    private (Action Multiply, Action Widen, Action Finish) Leaves<V>() where V : struct, ISimd<V>
    {
        var epilogue = new Epilogue { HasResidual = 1 };
        return (
            () => SimdMultiply<V>.Rows(
                ref source[0], Tile.SourcePitch, ref panel[0], Tile.Columns, ref sums[0], Tile.Columns, Rows, Tile.Depth, accumulate: false),
            () => SimdRows<V, ushort, SimdHalfFormat>.Widen(ref stored[0], Tile.Depth, ref source[0], Tile.SourcePitch, Rows, Tile.Depth),
            () =>
            {
                for (var row = 0; row < Rows; row++)
                {
                    ref var target = ref stored[row * Tile.Columns];
                    SimdRows<V, ushort, SimdHalfFormat>.Finish(
                        epilogue, ref sums[row * Tile.Columns], ref bias[0], ref target,
                        ref stored[(Rows + row) * Tile.Columns], ref target, Tile.Columns);
                }
            }
        );
    }

    private static float[] Filled(int count) => [.. Enumerable.Range(0, count).Select(i => (i % 17 / 17f) - 0.5f)];
}
