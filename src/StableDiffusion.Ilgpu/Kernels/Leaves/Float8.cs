using ILGPU;

namespace StableDiffusion.Ilgpu.Kernels.Leaves;

/// <summary>Eight values, of two fours that need not be neighbours.</summary>
internal struct Float8
{
    public const int Length = 8;

    public Float4 Low;
    public Float4 High;

    public readonly float Sum => Low.X + Low.Y + Low.Z + Low.W + (High.X + High.Y + High.Z + High.W);

    /// <summary>sums + factor * values.</summary>
    public static Float8 MultiplyAdd(Float8 sums, float factor, Float8 values)
    {
        sums.Low = Float4.MultiplyAdd(sums.Low, factor, values.Low);
        sums.High = Float4.MultiplyAdd(sums.High, factor, values.High);
        return sums;
    }

    public static Float8 Multiply(Float8 values, Float8 factors) =>
        new() { Low = Float4.Multiply(values.Low, factors.Low), High = Float4.Multiply(values.High, factors.High) };

    public static Float8 Add(Float8 left, Float8 right) =>
        new() { Low = Float4.Add(left.Low, right.Low), High = Float4.Add(left.High, right.High) };

    public static Float8 Subtract(Float8 left, Float8 right) =>
        new() { Low = Float4.Subtract(left.Low, right.Low), High = Float4.Subtract(left.High, right.High) };

    public static Float8 Fill(float value) => new() { Low = Float4.Fill(value), High = Float4.Fill(value) };

    /// <summary>Each value a pitch further than the one before.</summary>
    public static void StoreColumn(Float8 values, ArrayView<float> target, int first, int pitch)
    {
        target[first] = values.Low.X;
        target[first + pitch] = values.Low.Y;
        target[first + (2 * pitch)] = values.Low.Z;
        target[first + (3 * pitch)] = values.Low.W;
        target[first + (4 * pitch)] = values.High.X;
        target[first + (5 * pitch)] = values.High.Y;
        target[first + (6 * pitch)] = values.High.Z;
        target[first + (7 * pitch)] = values.High.W;
    }

    public static float Get(Float8 values, int index) => Float4.Get(index < 4 ? values.Low : values.High, index % 4);
}

/// <summary>Four rows of eight values.</summary>
internal struct Float4x8
{
    public Float8 Row0;
    public Float8 Row1;
    public Float8 Row2;
    public Float8 Row3;

    /// <summary>sums + factors * values^T.</summary>
    public static Float4x8 MultiplyAdd(Float4x8 sums, Float4 factors, Float8 values)
    {
        sums.Row0 = Float8.MultiplyAdd(sums.Row0, factors.X, values);
        sums.Row1 = Float8.MultiplyAdd(sums.Row1, factors.Y, values);
        sums.Row2 = Float8.MultiplyAdd(sums.Row2, factors.Z, values);
        sums.Row3 = Float8.MultiplyAdd(sums.Row3, factors.W, values);
        return sums;
    }
}
