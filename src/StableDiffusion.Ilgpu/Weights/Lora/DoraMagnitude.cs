using System.Numerics.Tensors;

namespace StableDiffusion.Ilgpu.Weights.Lora;

/// <summary>
/// The magnitudes of a weight-decomposed LoRA (DoRA, Liu et al. 2024, arXiv:2402.09353): the changed weight W + D becomes
/// m (W + D) / |W + D|, with a norm for each output row as PEFT has it, or for each input column as LyCORIS' first files have it.
/// </summary>
internal sealed class DoraMagnitude
{
    private readonly LoraFile file;
    private readonly TensorInfo tensor;
    private readonly bool isOfColumns;

    private DoraMagnitude(LoraFile file, TensorInfo tensor, bool isOfColumns) =>
        (this.file, this.tensor, this.isOfColumns) = (file, tensor, isOfColumns);

    /// <param name="file">The file.</param>
    /// <param name="tensor">(out[, 1, 1, 1]), PEFT's [1, out, 1, 1], or LyCORIS' (1, in[, 1, 1]).</param>
    /// <param name="isPeft">Whether its name is PEFT's, who has magnitudes of rows alone.</param>
    /// <param name="target">The tensor that is changed, (out, in[, kh, kw]).</param>
    /// <exception cref="StableDiffusionException">The shape is none of these.</exception>
    public static DoraMagnitude Create(LoraFile file, TensorInfo tensor, bool isPeft, TensorInfo target)
    {
        var isOfRows = tensor.Count == target.Shape[0] && (isPeft || tensor.Shape is [var first, ..] && first == target.Shape[0]);
        var isOfColumns = !isPeft && tensor.Shape.Length > 1 && tensor.Shape[0] == 1 && tensor.Count == target.Shape[1]
            && tensor.Shape[1] == tensor.Count;
        return isOfRows || isOfColumns ? new(file, tensor, !isOfRows)
            : throw file.Error(
                $"tensor {tensor.Name} has shape {tensor.ShapeText}; {target.Name} {target.ShapeText} needs a magnitude for each output or input");
    }

    /// <summary>Rescales a changed weight; a row or column of zeros stays so.</summary>
    /// <exception cref="StableDiffusionException">A magnitude is not finite.</exception>
    public void Apply(Span<float> weight, int rows, int columns)
    {
        var magnitudes = new float[tensor.Count];
        file.Source.Read(tensor.Name, magnitudes);
        if (!TensorPrimitives.IsFiniteAll<float>(magnitudes))
        {
            throw file.Error($"tensor {tensor.Name} has values that are no finite numbers");
        }

        if (!isOfColumns)
        {
            for (var r = 0; r < rows; r++)
            {
                var row = weight.Slice(r * columns, columns);
                var sum = 0.0;
                foreach (var value in row)
                {
                    sum += (double)value * value;
                }

                TensorPrimitives.Multiply(row, Factor(magnitudes[r], sum), row);
            }

            return;
        }

        var (inputs, taps) = (magnitudes.Length, columns / magnitudes.Length);
        var sums = new double[inputs];
        for (var i = 0; i < weight.Length; i++)
        {
            sums[i % columns / taps] += (double)weight[i] * weight[i];
        }

        float[] factors = [.. magnitudes.Zip(sums, Factor)];
        for (var i = 0; i < weight.Length; i++)
        {
            weight[i] *= factors[i % columns / taps];
        }
    }

    private static float Factor(float magnitude, double squares) => squares > 0 ? (float)(magnitude / Math.Sqrt(squares)) : 0;
}
