using ILGPU;
using ILGPU.Runtime;
using StableDiffusion.Ilgpu.Kernels.Leaves;
using StableDiffusion.Ilgpu.Kernels.Leaves.OpenCl;

namespace StableDiffusion.Ilgpu.Kernels.Gemm;

/// <summary>
/// A contraction on matrix units of OpenCL devices: one group computes one tile. As <see cref="GpuGemmKernel{T, TFormat}"/> it copies source and weights of
/// some channels of one tap to shared memory (<see cref="MatrixGemmCopy{TUnit, TTile}"/>), but in fp16 as they are, and its sub-groups multiply them
/// (<see cref="ClMatrix{TUnit, TTile}"/>).
/// </summary>
internal static class MatrixGemmKernel<TUnit, TTile>
    where TUnit : struct, IMatrixUnit
    where TTile : struct, IMatrixTile
{
    private const int Depth = MatrixGemmCopy<TUnit, TTile>.Depth;

    /// <summary>Chunks of eight fp16 values, of the source and of the weights.</summary>
    private static int SourceChunks => default(TTile).Rows * Depth / Float8.Length;

    private static int WeightChunks => default(TTile).Columns * Depth / Float8.Length;

    private static int Panels => default(TTile).Columns / Tile.Columns;

    /// <summary>Passes by which sums are finished.</summary>
    private static int Passes => MatrixShares.Of<TUnit, TTile>().RowFragments;

    private static int PassRows => default(TTile).Rows / Passes;

    /// <summary>Source and weights, and after the loop some rows of sums in their place.</summary>
    private static int SharedChunks => Math.Max(SourceChunks + WeightChunks, PassRows * default(TTile).Columns / 4);

    public static KernelConfig Shape(GemmArguments<ushort> a) => new(a.Tiles, default(TTile).WorkItems);

    public static void Run(GemmArguments<ushort> a)
    {
        var shared = SharedMemory.Allocate<HalfChunk>(SharedChunks);
        var sources = SharedMemory.Allocate<int>(default(TTile).Rows);
        var ints = shared.Cast<int>();
        var firstRow = Grid.IdxX % a.RowTiles * default(TTile).Rows;
        var firstPanel = Grid.IdxX / a.RowTiles * Panels;
        ClMatrix<TUnit>.Declare(default(TTile).WorkItems);
        ClMatrix<TUnit, TTile>.Begin();
        for (var tap = 0; tap < a.Kernel * a.Kernel; tap++)
        {
            if (Group.IdxX < default(TTile).Rows)
            {
                sources[Group.IdxX] = MatrixGemmCopy<TUnit, TTile>.SourceOf(a, firstRow + Group.IdxX, tap);
            }

            Group.Barrier();
            var copy = new MatrixGemmCopy<TUnit, TTile>(a, sources, firstPanel, tap);
            for (var channel = 0; channel < a.Channels; channel += Depth)
            {
                copy.Run(a, channel, shared, SourceChunks);
                Group.Barrier();
                ClMatrix<TUnit, TTile>.MultiplyAdd(ref ints[0], ref ints[SourceChunks * 4]);
                ClMatrix<TUnit, TTile>.MultiplyAdd(ref ints[SourceChunks * 2], ref ints[(SourceChunks * 4) + (WeightChunks * 2)]);
                Group.Barrier();
            }
        }

        for (var pass = 0; pass < Passes; pass++)
        {
            Group.Barrier();
            ClMatrix<TUnit, TTile>.StoreFragment(pass, ref shared.Cast<float>()[0]);
            Group.Barrier();
            GpuGemmTile<ushort, GpuHalfFormat<ClHalfConversion>>.Store(
                a, shared.Cast<Float4>(), PassRows, default(TTile).Columns, firstRow + (pass * PassRows), 1, firstPanel, default(TTile).WorkItems);
        }
    }
}
