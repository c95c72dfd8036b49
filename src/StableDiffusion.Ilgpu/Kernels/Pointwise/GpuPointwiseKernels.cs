using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Leaves;

namespace StableDiffusion.Ilgpu.Kernels.Pointwise;

/// <summary>
/// The pointwise kernels for devices whose groups have many work-items. Each takes eight neighbouring values, 16 bytes of fp16, where these never
/// lie in two rows and all rows are aligned; one value elsewhere.
/// </summary>
internal static class GpuPointwiseKernels<T, TFormat>
    where T : unmanaged
    where TFormat : struct, IGpuFormat<T>
{
    public const int WorkItems = 256;

    /// <summary>One work-item for each chunk.</summary>
    public static KernelConfig Shape(PointwiseArguments<T> a) => new((Chunks(a) + WorkItems - 1) / WorkItems, WorkItems);

    /// <summary>One group for each row.</summary>
    public static KernelConfig Shape(EmbeddingArguments<T> a) => new(a.Rows, WorkItems);

    public static void Activate(PointwiseArguments<T> a)
    {
        var chunk = (Grid.IdxX * WorkItems) + Group.IdxX;
        if (chunk < Chunks(a))
        {
            var (row, column) = (Row(a, chunk), Column(a, chunk));
            if (a.IsChunked)
            {
                Store(a, row, column, Activations<TFormat>.Of(LoadSource(a, row, column), a.Activation));
            }
            else
            {
                PointwiseElements<T, TFormat>.Activate(a, row, column);
            }
        }
    }

    public static void Affine(PointwiseArguments<T> a)
    {
        var chunk = (Grid.IdxX * WorkItems) + Group.IdxX;
        if (chunk < Chunks(a))
        {
            var (row, column) = (Row(a, chunk), Column(a, chunk));
            if (a.IsChunked)
            {
                Store(a, row, column, Float8.MultiplyAdd(Float8.Fill(a.Offset), a.Factor, LoadSource(a, row, column)));
            }
            else
            {
                PointwiseElements<T, TFormat>.Affine(a, row, column);
            }
        }
    }

    public static void Add(PointwiseArguments<T> a)
    {
        var chunk = (Grid.IdxX * WorkItems) + Group.IdxX;
        if (chunk < Chunks(a))
        {
            var (row, column) = (Row(a, chunk), Column(a, chunk));
            if (a.IsChunked)
            {
                var other = default(TFormat).LoadChunk(a.Arena, a.Other + ((long)(row / a.RowsPerOther) * a.OtherPitch) + column);
                Store(a, row, column, Float8.Add(LoadSource(a, row, column), other));
            }
            else
            {
                PointwiseElements<T, TFormat>.Add(a, row, column);
            }
        }
    }

    public static void Geglu(PointwiseArguments<T> a)
    {
        var chunk = (Grid.IdxX * WorkItems) + Group.IdxX;
        if (chunk < Chunks(a))
        {
            var (row, column) = (Row(a, chunk), Column(a, chunk));
            if (a.IsChunked)
            {
                var gate = LoadSource(a, row, column + a.Columns);
                Store(a, row, column, Float8.Multiply(LoadSource(a, row, column), Activations<TFormat>.Of<Activations<TFormat>.Gelu>(gate)));
            }
            else
            {
                PointwiseElements<T, TFormat>.Geglu(a, row, column);
            }
        }
    }

    public static void Resize(PointwiseArguments<T> a)
    {
        var chunk = (Grid.IdxX * WorkItems) + Group.IdxX;
        if (chunk < Chunks(a))
        {
            var (row, column) = (Row(a, chunk), Column(a, chunk));
            if (a.IsChunked)
            {
                Store(a, row, column, LoadSource(a, a.SourceRow(row), column));
            }
            else
            {
                PointwiseElements<T, TFormat>.Resize(a, row, column);
            }
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

    private static int Chunks(PointwiseArguments<T> a) => a.Rows * ChunksOfRow(a);

    private static int ChunksOfRow(PointwiseArguments<T> a) => a.IsChunked ? a.Columns / Float8.Length : a.Columns;

    private static int Row(PointwiseArguments<T> a, int chunk) => chunk / ChunksOfRow(a);

    private static int Column(PointwiseArguments<T> a, int chunk) => chunk % ChunksOfRow(a) * (a.IsChunked ? Float8.Length : 1);

    private static Float8 LoadSource(PointwiseArguments<T> a, long row, int column) =>
        default(TFormat).LoadChunk(a.Arena, a.Source + (row * a.SourcePitch) + column);

    private static void Store(PointwiseArguments<T> a, long row, int column, Float8 values) =>
        default(TFormat).StoreChunk(a.Arena, a.Target + (row * a.TargetPitch) + column, values);
}
