using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Leaves;

namespace StableDiffusion.Ilgpu.Kernels.Pointwise;

/// <summary>The pointwise kernels for devices whose groups have many work-items, which take neighbouring elements.</summary>
internal static class GpuPointwiseKernels<T, TFormat>
    where T : unmanaged
    where TFormat : struct, IFormat<T>
{
    public const int WorkItems = 256;

    /// <summary>One group for each tile of rows.</summary>
    public static KernelConfig Shape(PointwiseArguments<T> a) => new(a.Tiles, WorkItems);

    /// <summary>One group for each row.</summary>
    public static KernelConfig Shape(EmbeddingArguments<T> a) => new(a.Rows, WorkItems);

    public static void Activate(PointwiseArguments<T> a)
    {
        for (var i = Group.IdxX; i < Elements(a); i += WorkItems)
        {
            PointwiseElements<T, TFormat>.Activate(a, FirstRow + (i / a.Columns), i % a.Columns);
        }
    }

    public static void Affine(PointwiseArguments<T> a)
    {
        for (var i = Group.IdxX; i < Elements(a); i += WorkItems)
        {
            PointwiseElements<T, TFormat>.Affine(a, FirstRow + (i / a.Columns), i % a.Columns);
        }
    }

    public static void Add(PointwiseArguments<T> a)
    {
        for (var i = Group.IdxX; i < Elements(a); i += WorkItems)
        {
            PointwiseElements<T, TFormat>.Add(a, FirstRow + (i / a.Columns), i % a.Columns);
        }
    }

    public static void Geglu(PointwiseArguments<T> a)
    {
        for (var i = Group.IdxX; i < Elements(a); i += WorkItems)
        {
            PointwiseElements<T, TFormat>.Geglu(a, FirstRow + (i / a.Columns), i % a.Columns);
        }
    }

    public static void Resize(PointwiseArguments<T> a)
    {
        for (var i = Group.IdxX; i < Elements(a); i += WorkItems)
        {
            PointwiseElements<T, TFormat>.Resize(a, FirstRow + (i / a.Columns), i % a.Columns);
        }
    }

    public static void TokenEmbedding(EmbeddingArguments<T> a)
    {
        for (var i = Group.IdxX; i < a.Columns; i += WorkItems)
        {
            PointwiseElements<T, TFormat>.TokenEmbedding(a, Grid.IdxX, i);
        }
    }

    public static void TimestepEmbedding(EmbeddingArguments<T> a)
    {
        for (var i = Group.IdxX; i < a.Columns / 2; i += WorkItems)
        {
            PointwiseElements<T, TFormat>.TimestepEmbedding(a, Grid.IdxX, i);
        }
    }

    private static int Elements(PointwiseArguments<T> a) =>
        IntrinsicMath.Min(PointwiseArguments<T>.TileRows, a.Rows - FirstRow) * a.Columns;

    private static int FirstRow => Grid.IdxX * PointwiseArguments<T>.TileRows;
}
