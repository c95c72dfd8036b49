using System.Numerics.Tensors;

namespace StableDiffusion.Ilgpu.Weights.Lora;

/// <summary>
/// What one module of a LoRA file adds to a tensor (out[, in[, kh, kw]]), seen as a matrix of out rows: a stored matrix as it is, or
/// LoRA A B (Hu et al. 2021, arXiv:2106.09685), LoHa (A1 B1) * (A2 B2) element by element, LoKr W1 ⊗ W2 (Kronecker; both of LyCORIS,
/// Yeh et al. 2023, arXiv:2309.14859), times alpha / rank; with <see cref="DoraMagnitude"/>, what that makes of the sum, less the weight.
/// </summary>
internal sealed class LoraDelta
{
    private const long LatentChannels = 4, InpaintingChannels = 9;

    private readonly LoraFactor first;
    private readonly LoraFactor? second;
    private readonly bool isKronecker;
    private readonly float factor;
    private readonly DoraMagnitude? magnitude;
    private readonly float scale;

    /// <summary>Elements of a row of the weight.</summary>
    private readonly long pitch;

    private LoraDelta(
        LoraFactor first, LoraFactor? second, bool isKronecker, double factor, double scale, DoraMagnitude? magnitude, TensorInfo target)
    {
        (this.first, this.second, this.isKronecker, this.magnitude) = (first, second, isKronecker, magnitude);
        pitch = target.Count / target.Shape[0];

        // A decomposed change is scaled when it is whole.
        (this.factor, this.scale) = magnitude is null ? ((float)(scale * factor), 1) : ((float)factor, (float)scale);
    }

    private long Rows => isKronecker ? first.Rows * second!.Rows : first.Rows;

    /// <summary>Whether the change depends on the weight's own values.</summary>
    public bool NeedsOriginal => magnitude is not null;

    private long Columns => isKronecker ? first.Columns * second!.Columns : first.Columns;

    /// <param name="file">The file.</param>
    /// <param name="module">The module's name in the file.</param>
    /// <param name="target">The tensor that it changes.</param>
    /// <param name="scale">How strongly it counts, beside the file's own alpha.</param>
    /// <returns>Null where a factor is missing: trainers that drop ranks or modules leave the other one, or an alpha, behind.</returns>
    /// <exception cref="StableDiffusionException">Tensors are of several kinds, or their shapes fit neither each other nor the target.</exception>
    public static LoraDelta? Create(LoraFile file, string module, TensorInfo target, double scale)
    {
        var roles = file.Modules[module];
        var isHadamard = roles.Keys.Any(r => r is >= LoraRole.HadaW1A and <= LoraRole.HadaT2);
        var isKronecker = roles.Keys.Any(r => r is >= LoraRole.KronW1 and <= LoraRole.KronT2);
        var isLowRank = roles.Keys.Any(r => r is >= LoraRole.Down and <= LoraRole.Mid);
        if ((isLowRank ? 1 : 0) + (isHadamard ? 1 : 0) + (isKronecker ? 1 : 0) > 1)
        {
            throw file.Error($"{module} has the tensors {string.Join(", ", roles.Keys)}; valid: those of one of LoRA, LoHa and LoKr");
        }

        var (first, second) = isHadamard
            ? (Tucker(LoraRole.HadaW1A, LoraRole.HadaW1B, LoraRole.HadaT1), Tucker(LoraRole.HadaW2A, LoraRole.HadaW2B, LoraRole.HadaT2))
            : isKronecker
            ? (Whole(LoraRole.KronW1) ?? Product(LoraRole.KronW1A, LoraRole.KronW1B, null, leftIsTransposed: false),
                Whole(LoraRole.KronW2) ?? Tucker(LoraRole.KronW2A, LoraRole.KronW2B, LoraRole.KronT2))
            : (Product(LoraRole.Up, LoraRole.Down, Find(LoraRole.Mid), leftIsTransposed: false), null);
        if (first is null || (second is null && !isLowRank))
        {
            return null;
        }

        // LyCORIS: a Kronecker product of two whole matrices has no rank, and its alpha says nothing. A scale is the web UI's and
        // stable-diffusion.cpp's.
        var rank = first.Rank ?? second?.Rank;
        var strength = Find(LoraRole.Scale) is { } given ? ReadAlpha(file, given) : rank is null ? 1 : Factor(rank.Value);
        var magnitude = Find(LoraRole.DoraScale) ?? Find(LoraRole.DoraMagnitude);
        var delta = new LoraDelta(
            first, second, isKronecker, strength, scale,
            magnitude is null ? null : DoraMagnitude.Create(file, magnitude, roles.ContainsKey(LoraRole.DoraMagnitude), target), target);
        return delta.Fits(target) && (!isHadamard || (second!.Rows, second.Columns) == (first.Rows, first.Columns)) ? delta
            : throw delta.Misfit(file, module, target);

        TensorInfo? Find(LoraRole role) => roles.GetValueOrDefault(role);

        LoraFactor? Whole(LoraRole role) => Find(role) is { } tensor ? LoraFactor.Whole(file, tensor) : null;

        LoraFactor? Product(LoraRole left, LoraRole right, TensorInfo? core, bool leftIsTransposed) =>
            Find(left) is { } a && Find(right) is { } b ? LoraFactor.Product(file, a, b, core, leftIsTransposed) : null;

        LoraFactor? Tucker(LoraRole left, LoraRole right, LoraRole core) =>
            Product(left, right, Find(core), leftIsTransposed: Find(core) is not null);

        double Factor(long rankOfProduct) =>
            Find(LoraRole.Alpha) is { } tensor ? ReadAlpha(file, tensor) / rankOfProduct : file.FactorOf(module, rankOfProduct);
    }

    /// <summary>A stored tensor that is added as it is.</summary>
    /// <param name="file">The file.</param>
    /// <param name="tensor">What is added.</param>
    /// <param name="target">The tensor that it changes.</param>
    /// <param name="scale">How strongly it counts.</param>
    /// <exception cref="StableDiffusionException">The shapes do not fit.</exception>
    public static LoraDelta CreateDifference(LoraFile file, TensorInfo tensor, TensorInfo target, double scale)
    {
        var delta = new LoraDelta(LoraFactor.Difference(file, tensor), null, isKronecker: false, 1, scale, null, target);
        return delta.Fits(target) ? delta : throw delta.Misfit(file, tensor.Name, target);
    }

    /// <summary>Adds to the target's values, in fp32.</summary>
    /// <param name="weight">The values so far.</param>
    /// <param name="original">Those of the model; used where <see cref="NeedsOriginal"/>.</param>
    public void AddTo(Span<float> weight, ReadOnlySpan<float> original)
    {
        if (magnitude is null)
        {
            AddProductTo(weight);
            return;
        }

        var changed = original.ToArray();
        AddProductTo(changed);
        magnitude.Apply(changed, (int)Rows, (int)Columns);
        TensorPrimitives.Subtract(changed, original, changed);
        TensorPrimitives.MultiplyAdd(changed, scale, weight, weight);
    }

    private void AddProductTo(Span<float> weight)
    {
        if (isKronecker)
        {
            AddKronecker(weight);
            return;
        }

        var (a, b) = (first.Load(), second?.Load());
        var (row, other) = (new float[a.Columns], b is null ? [] : new float[a.Columns]);
        for (var r = 0; r < first.Rows; r++)
        {
            a.Row(r, row);
            if (b is { } rows)
            {
                rows.Row(r, other);
                TensorPrimitives.Multiply(row, other, row);
            }

            var target = weight.Slice(r * (int)pitch, a.Columns);
            TensorPrimitives.MultiplyAdd(row, factor, target, target);
        }
    }

    /// <summary>weight[i rows2 + p, j columns2 + c] += W1[i, j] W2[p, c].</summary>
    private void AddKronecker(Span<float> weight)
    {
        var (a, b) = (first.Load(), second!.Load());
        var (rowA, rowB) = (new float[a.Columns], new float[b.Columns]);
        for (var i = 0; i < first.Rows; i++)
        {
            a.Row(i, rowA);
            for (var p = 0; p < second.Rows; p++)
            {
                b.Row(p, rowB);
                var target = weight.Slice(((i * (int)second.Rows) + p) * (int)pitch, a.Columns * b.Columns);
                for (var j = 0; j < a.Columns; j++)
                {
                    var part = target.Slice(j * b.Columns, b.Columns);
                    TensorPrimitives.MultiplyAdd(rowB, factor * rowA[j], part, part);
                }
            }
        }
    }

    private bool Fits(TensorInfo target) =>
        Rows == target.Shape[0] && (Columns == pitch || (Columns == ColumnsOfLatent(target) && magnitude is null));

    private StableDiffusionException Misfit(LoraFile file, string name, TensorInfo target) => file.Error(
        $"{name} changes a weight of {Rows} x {Columns}, but {target.Name} {target.ShapeText} has {target.Shape[0]} x {pitch}"
        + ": the LoRA was made for another model");

    /// <summary>
    /// Columns of what was trained on the latent's channels for a convolution that also takes a mask and a masked picture, of inpainting
    /// models: the latent's come first, and as in AUTOMATIC1111's web UI the others stay. Null for any other weight.
    /// </summary>
    private static long? ColumnsOfLatent(TensorInfo target) =>
        target.Shape is [_, InpaintingChannels, var height, var width] ? LatentChannels * height * width : null;

    /// <summary>Kohya's trainer stores an alpha as the number that it was given, which may be an integer.</summary>
    private static double ReadAlpha(LoraFile file, TensorInfo tensor)
    {
        if (tensor.Count != 1 || tensor.Type == TensorType.Bool)
        {
            throw file.Error($"tensor {tensor.Name} is {tensor.Type} of shape {tensor.ShapeText}, not one number");
        }

        // One element always lies where it can be located.
        Span<float> alpha = [0];
        file.Source.Locate(tensor.Name)!.Read(alpha);
        return float.IsFinite(alpha[0]) ? alpha[0] : throw file.Error($"tensor {tensor.Name} is {NumberText.Of(alpha[0])}, not a finite number");
    }
}
