namespace StableDiffusion.Ilgpu.Kernels.Leaves;

/// <summary>Four values that one work-item moves at once and keeps in registers. ILGPU keeps no arrays there.</summary>
internal struct Float4
{
    public float X;
    public float Y;
    public float Z;
    public float W;

    /// <summary>sums + factor * values.</summary>
    public static Float4 MultiplyAdd(Float4 sums, float factor, Float4 values)
    {
        sums.X += factor * values.X;
        sums.Y += factor * values.Y;
        sums.Z += factor * values.Z;
        sums.W += factor * values.W;
        return sums;
    }

    public static Float4 Multiply(Float4 values, float factor)
    {
        values.X *= factor;
        values.Y *= factor;
        values.Z *= factor;
        values.W *= factor;
        return values;
    }

    public static Float4 Multiply(Float4 a, Float4 b) => new() { X = a.X * b.X, Y = a.Y * b.Y, Z = a.Z * b.Z, W = a.W * b.W };

    public static float Get(Float4 values, int index) => index switch { 0 => values.X, 1 => values.Y, 2 => values.Z, _ => values.W };
}

/// <summary>Four rows of four values.</summary>
internal struct Float4x4
{
    public Float4 Row0;
    public Float4 Row1;
    public Float4 Row2;
    public Float4 Row3;

    /// <summary>sums + factors * values^T.</summary>
    public static Float4x4 MultiplyAdd(Float4x4 sums, Float4 factors, Float4 values)
    {
        sums.Row0 = Float4.MultiplyAdd(sums.Row0, factors.X, values);
        sums.Row1 = Float4.MultiplyAdd(sums.Row1, factors.Y, values);
        sums.Row2 = Float4.MultiplyAdd(sums.Row2, factors.Z, values);
        sums.Row3 = Float4.MultiplyAdd(sums.Row3, factors.W, values);
        return sums;
    }

    /// <summary>Each row times its factor.</summary>
    public static Float4x4 Multiply(Float4x4 values, Float4 factors)
    {
        values.Row0 = Float4.Multiply(values.Row0, factors.X);
        values.Row1 = Float4.Multiply(values.Row1, factors.Y);
        values.Row2 = Float4.Multiply(values.Row2, factors.Z);
        values.Row3 = Float4.Multiply(values.Row3, factors.W);
        return values;
    }
}
