using System.Numerics.Tensors;

namespace StableDiffusion.Ilgpu.Weights.Lora;

/// <summary>
/// A matrix of a LoRA: stored whole, or as a product A B of A (rows, rank) and B (rank, columns), or with a core T (rank, rank', taps)
/// between them: W[p, r t] = sum over i, j of A[p, i] T[i, j, t] B[j, r]. A convolution's taps belong to the columns, innermost.
/// Shapes are checked when it is made; its values are read by <see cref="Load"/>.
/// </summary>
internal sealed class LoraFactor
{
    private readonly IWeightSource source;
    private readonly TensorInfo left;
    private readonly TensorInfo? right;
    private readonly TensorInfo? core;
    private readonly bool leftIsTransposed;

    private LoraFactor(IWeightSource source, TensorInfo left, TensorInfo? right, TensorInfo? core, bool leftIsTransposed) =>
        (this.source, this.left, this.right, this.core, this.leftIsTransposed) = (source, left, right, core, leftIsTransposed);

    public long Rows { get; private init; }

    public long Columns { get; private init; }

    /// <summary>The rank that alpha is divided by; null for a whole matrix.</summary>
    public long? Rank => right?.Shape[0];

    /// <summary>A matrix that the file holds as it is.</summary>
    public static LoraFactor Whole(LoraFile file, TensorInfo tensor)
    {
        Require(file, tensor, tensor.Shape.Length >= 2 && tensor.Count > 0);
        return new LoraFactor(file.Source, tensor, null, null, false) { Rows = tensor.Shape[0], Columns = Width(tensor) };
    }

    /// <summary>A matrix or a vector that the file holds as it is; a vector's elements are its rows.</summary>
    public static LoraFactor Difference(LoraFile file, TensorInfo tensor)
    {
        Require(file, tensor, tensor.Shape.Length >= 1 && tensor.Count > 0);
        return new LoraFactor(file.Source, tensor, null, null, false) { Rows = tensor.Shape[0], Columns = Width(tensor) };
    }

    /// <summary>A product. With <paramref name="leftIsTransposed"/> A is stored as (rank, rows).</summary>
    public static LoraFactor Product(LoraFile file, TensorInfo left, TensorInfo right, TensorInfo? core, bool leftIsTransposed)
    {
        foreach (var tensor in new[] { left, right }.Concat(core is null ? [] : [core]))
        {
            Require(file, tensor, tensor.Shape.Length >= 2 && tensor.Count > 0);
        }

        var (rows, rank) = leftIsTransposed ? (Width(left), left.Shape[0]) : (left.Shape[0], Width(left));
        var taps = 1L;
        if (core is null)
        {
            RequireEqual(file, left, right, rank, right.Shape[0]);
        }
        else
        {
            RequireEqual(file, left, core, rank, core.Shape[0]);
            RequireEqual(file, core, right, core.Shape[1], right.Shape[0]);
            taps = Width(core) / core.Shape[1];

            // Core and right factor become one array.
            Require(file, core, rank <= Array.MaxLength / (Width(right) * taps));
        }

        return new LoraFactor(file.Source, left, right, core, leftIsTransposed) { Rows = rows, Columns = Width(right) * taps };
    }

    /// <summary>Reads the values; the result gives the matrix row by row.</summary>
    /// <exception cref="StableDiffusionException">One of them is not finite: no picture could be told from it.</exception>
    public LoraRows Load()
    {
        var a = Read(left);
        if (right is null)
        {
            return new LoraRows(a, null, (int)Columns);
        }

        a = leftIsTransposed ? Transpose(a, (int)left.Shape[0]) : a;
        return new LoraRows(a, core is null ? Read(right) : WithCore(Read(core), Read(right)), (int)Columns);
    }

    /// <summary>B'[i, r t] = sum over j of T[i, j, t] B[j, r].</summary>
    private float[] WithCore(float[] t, float[] b)
    {
        var (outer, inner, width) = ((int)core!.Shape[0], (int)core.Shape[1], (int)Width(right!));
        var taps = (int)Columns / width;
        var result = new float[outer * width * taps];
        for (var i = 0; i < outer; i++)
        {
            for (var j = 0; j < inner; j++)
            {
                for (var r = 0; r < width; r++)
                {
                    for (var tap = 0; tap < taps; tap++)
                    {
                        result[(((i * width) + r) * taps) + tap] += t[(((i * inner) + j) * taps) + tap] * b[(j * width) + r];
                    }
                }
            }
        }

        return result;
    }

    private float[] Read(TensorInfo tensor)
    {
        var values = new float[tensor.Count];
        source.Read(tensor.Name, values);
        return TensorPrimitives.IsFiniteAll<float>(values) ? values
            : throw new StableDiffusionException($"{source.Description}: tensor {tensor.Name} has values that are no finite numbers");
    }

    private static float[] Transpose(float[] values, int rows)
    {
        var (columns, result) = (values.Length / rows, new float[values.Length]);
        for (var r = 0; r < rows; r++)
        {
            for (var c = 0; c < columns; c++)
            {
                result[(c * rows) + r] = values[(r * columns) + c];
            }
        }

        return result;
    }

    /// <summary>Elements of one row.</summary>
    private static long Width(TensorInfo tensor) => tensor.Count / tensor.Shape[0];

    private static void Require(LoraFile file, TensorInfo tensor, bool isMatrix)
    {
        if (!isMatrix || tensor.Count > Array.MaxLength)
        {
            throw file.Error($"tensor {tensor.Name} has shape {tensor.ShapeText}, which is not a matrix");
        }
    }

    private static void RequireEqual(LoraFile file, TensorInfo a, TensorInfo b, long rankOfA, long rankOfB)
    {
        if (rankOfA != rankOfB)
        {
            throw file.Error($"{a.Name} {a.ShapeText} and {b.Name} {b.ShapeText} have different ranks: {rankOfA} and {rankOfB}");
        }
    }
}

/// <summary>A matrix in memory, whole (then B is null) or as the product A B.</summary>
internal readonly struct LoraRows(float[] a, float[]? b, int columns)
{
    public int Columns => columns;

    /// <summary>One row, in fp32, the products added in the order of the rank.</summary>
    public void Row(int row, Span<float> destination)
    {
        if (b is null)
        {
            a.AsSpan(row * columns, columns).CopyTo(destination);
            return;
        }

        var rank = b.Length / columns;
        destination.Clear();
        for (var k = 0; k < rank; k++)
        {
            TensorPrimitives.MultiplyAdd(b.AsSpan(k * columns, columns), a[(row * rank) + k], destination, destination);
        }
    }
}
