namespace StableDiffusion.Ilgpu.Kernels.Leaves;

/// <summary>Two neighbouring values.</summary>
internal struct Float2
{
    public float X;
    public float Y;
}

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
        sums.X = DeviceMath.MultiplyAdd(factor, values.X, sums.X);
        sums.Y = DeviceMath.MultiplyAdd(factor, values.Y, sums.Y);
        sums.Z = DeviceMath.MultiplyAdd(factor, values.Z, sums.Z);
        sums.W = DeviceMath.MultiplyAdd(factor, values.W, sums.W);
        return sums;
    }

    public static Float4 Multiply(Float4 values, float factor) => Multiply(values, Fill(factor));

    public static Float4 Multiply(Float4 values, Float4 factors)
    {
        values.X *= factors.X;
        values.Y *= factors.Y;
        values.Z *= factors.Z;
        values.W *= factors.W;
        return values;
    }

    public static float Get(Float4 values, int index) => index switch { 0 => values.X, 1 => values.Y, 2 => values.Z, _ => values.W };

    public static Float4 Add(Float4 left, Float4 right)
    {
        left.X += right.X;
        left.Y += right.Y;
        left.Z += right.Z;
        left.W += right.W;
        return left;
    }

    public static Float4 Subtract(Float4 left, Float4 right)
    {
        left.X -= right.X;
        left.Y -= right.Y;
        left.Z -= right.Z;
        left.W -= right.W;
        return left;
    }

    public static Float4 Fill(float value) => new() { X = value, Y = value, Z = value, W = value };
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
