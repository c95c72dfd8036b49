using System.Runtime.CompilerServices;
using StableDiffusion.Ilgpu.Kernels.Pointwise;

namespace StableDiffusion.Ilgpu.Kernels.Leaves.Simd;

/// <summary><see cref="PointwiseMath"/> on registers: the same formulas, operation by operation.</summary>
internal static class SimdMath<V> where V : struct, ISimd<V>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Exp(V x)
    {
        x = V.Max(V.Min(x, V.Create(PointwiseMath.ExpLimit)), V.Create(-PointwiseMath.ExpLimit));
        var n = V.Round(x * V.Create(PointwiseMath.Log2E));
        var r = V.MultiplyAdd(n, V.Create(-PointwiseMath.Ln2High), x);
        r = V.MultiplyAdd(n, V.Create(-PointwiseMath.Ln2Low), r);
        return V.Scale(ExpPolynomial(r), n);
    }

    /// <summary>2^x for x up to 0 and a little above: only the lower limit is applied.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Exp2(V x)
    {
        x = V.Max(x, V.Create(-PointwiseMath.Exp2Limit));
        var n = V.Round(x);
        var f = x - n;
        var p = V.Create(1.535336188e-4f);
        p = V.MultiplyAdd(p, f, V.Create(1.339887440e-3f));
        p = V.MultiplyAdd(p, f, V.Create(9.618437357e-3f));
        p = V.MultiplyAdd(p, f, V.Create(5.550332547e-2f));
        p = V.MultiplyAdd(p, f, V.Create(2.402264791e-1f));
        p = V.MultiplyAdd(p, f, V.Create(6.931472028e-1f));
        p = V.MultiplyAdd(p, f, V.Create(1f));
        return V.Scale(p, n);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Silu(V x) => x / (V.Create(1f) + Exp(V.Create(0f) - x));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V QuickGelu(V x) => x / (V.Create(1f) + Exp(x * V.Create(-1.702f)));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Gelu(V x)
    {
        var tail = V.Create(0.5f) * x * TwiceTail(V.Abs(x));
        return V.WhereGreater(V.Create(0f), x, tail, x - tail);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Relu(V x) => V.Max(x, V.Create(0f));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V SoftClamp(V x)
    {
        var u = x * V.Create(PointwiseMath.SoftClampFactor);
        var square = u * u;
        var p = V.Create(-5.70498872745e-3f);
        p = V.MultiplyAdd(p, square, V.Create(2.06390887954e-2f));
        p = V.MultiplyAdd(p, square, V.Create(-5.37397155531e-2f));
        p = V.MultiplyAdd(p, square, V.Create(1.33314422036e-1f));
        p = V.MultiplyAdd(p, square, V.Create(-3.33332819422e-1f));
        var large = V.Create(1f) - (V.Create(2f) / (V.Create(1f) + Exp(u + u)));
        return V.Create(3f) * V.WhereGreater(V.Create(PointwiseMath.SoftClampSmall), V.Abs(u), V.MultiplyAdd(u * square, p, u), large);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static V TwiceTail(V x)
    {
        var t = V.Create(1f) / V.MultiplyAdd(V.Create(0.353553391f), x, V.Create(1f));
        var p = V.Create(0.17087277f);
        p = V.MultiplyAdd(p, t, V.Create(-0.82215223f));
        p = V.MultiplyAdd(p, t, V.Create(1.48851587f));
        p = V.MultiplyAdd(p, t, V.Create(-1.13520398f));
        p = V.MultiplyAdd(p, t, V.Create(0.27886807f));
        p = V.MultiplyAdd(p, t, V.Create(-0.18628806f));
        p = V.MultiplyAdd(p, t, V.Create(0.09678418f));
        p = V.MultiplyAdd(p, t, V.Create(0.37409196f));
        p = V.MultiplyAdd(p, t, V.Create(1.00002368f));
        return t * Exp(V.MultiplyAdd(x * V.Create(-0.5f), x, V.MultiplyAdd(p, t, V.Create(-1.26551223f))));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static V ExpPolynomial(V r)
    {
        var p = V.Create(1.9875691500e-4f);
        p = V.MultiplyAdd(p, r, V.Create(1.3981999507e-3f));
        p = V.MultiplyAdd(p, r, V.Create(8.3334519073e-3f));
        p = V.MultiplyAdd(p, r, V.Create(4.1665795894e-2f));
        p = V.MultiplyAdd(p, r, V.Create(1.6666665459e-1f));
        p = V.MultiplyAdd(p, r, V.Create(5.0000001201e-1f));
        return V.MultiplyAdd(p * r, r, r) + V.Create(1f);
    }
}

/// <summary>An activation function as a type, so that a loop compiled for it holds no choice.</summary>
internal interface ISimdActivation<V> where V : struct, ISimd<V>
{
    static abstract V Apply(V x);
}

internal readonly struct SimdIdentity<V> : ISimdActivation<V> where V : struct, ISimd<V>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Apply(V x) => x;
}

internal readonly struct SimdSilu<V> : ISimdActivation<V> where V : struct, ISimd<V>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Apply(V x) => SimdMath<V>.Silu(x);
}

internal readonly struct SimdGelu<V> : ISimdActivation<V> where V : struct, ISimd<V>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Apply(V x) => SimdMath<V>.Gelu(x);
}

internal readonly struct SimdRelu<V> : ISimdActivation<V> where V : struct, ISimd<V>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Apply(V x) => SimdMath<V>.Relu(x);
}

internal readonly struct SimdSoftClamp<V> : ISimdActivation<V> where V : struct, ISimd<V>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Apply(V x) => SimdMath<V>.SoftClamp(x);
}

internal readonly struct SimdQuickGelu<V> : ISimdActivation<V> where V : struct, ISimd<V>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Apply(V x) => SimdMath<V>.QuickGelu(x);
}
