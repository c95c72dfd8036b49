using System.Numerics;
using System.Runtime.Intrinsics;

namespace StableDiffusion.Ilgpu.Tests.Ptx;

/// <summary>Arithmetic on floating point. Approximations give the correctly rounded value, or nearly so.</summary>
internal static unsafe class Floats
{
    public static Execute? Decode(PtxDecoder d) => d.Type switch
    {
        "f16" => Typed<Half>(d, static (a, b, c) => (Half)(((double)a * (double)b) + (double)c)),
        "f32" => Typed<float>(d, MathF.FusedMultiplyAdd),
        "f64" => Typed<double>(d, Math.FusedMultiplyAdd),
        "f16x2" => Pairs(d),
        _ => null,
    };

    private static Execute? Typed<T>(PtxDecoder d, Func<T, T, T, T> fma) where T : unmanaged, IFloatingPointIeee754<T>, IMinMaxValue<T>
    {
        var bits = sizeof(T) * 8;
        if (d.Name is "fma" or "mad")
        {
            d.Allow("rn", "ftz", "sat");
            d.Expect(4);
            var finish = Finish<T>(d);
            if (typeof(T) == typeof(float) && finish is null)
            {
                return Lanes.Map<float>(d.Target(0, bits), d.Source(1, bits), d.Source(2, bits), d.Source(3, bits), static (a, b, c) => Vector256.FusedMultiplyAdd(a, b, c));
            }

            return Lanes.Map<T, T, T, T>(d.Target(0, bits), d.Source(1, bits), d.Source(2, bits), d.Source(3, bits), finish is null ? fma : (a, b, c) => finish(fma(a, b, c)));
        }

        if (BinaryOf<T>(d) is { } binary)
        {
            d.Allow("rn", "ftz", "sat", "full", "approx", "NaN");
            d.Expect(3);
            var finish = Finish<T>(d);
            if (typeof(T) == typeof(float) && finish is null && VectorOf(d.Name) is { } vector)
            {
                return Lanes.Map(d.Target(0, bits), d.Source(1, bits), d.Source(2, bits), vector);
            }

            return Lanes.Map(d.Target(0, bits), d.Source(1, bits), d.Source(2, bits), finish is null ? binary : (a, b) => finish(binary(a, b)));
        }

        if (UnaryOf<T>(d.Name) is { } unary)
        {
            d.Allow("rn", "ftz", "sat", "approx");
            d.Expect(2);
            var finish = Finish<T>(d);
            return Lanes.Map(d.Target(0, bits), d.Source(1, bits), finish is null ? unary : a => finish(unary(Flush(a))));
        }

        return null;
    }

    /// <summary>With <c>.ftz</c> subnormal results are zero, with <c>.sat</c> results lie between 0 and 1.</summary>
    private static Func<T, T>? Finish<T>(PtxDecoder d) where T : unmanaged, IFloatingPointIeee754<T> => (d.Has("ftz"), d.Has("sat")) switch
    {
        (false, false) => null,
        (true, false) => Flush,
        (_, true) => static a => T.IsNaN(a) ? T.Zero : T.Clamp(a, T.Zero, T.One),
    };

    private static T Flush<T>(T a) where T : unmanaged, IFloatingPointIeee754<T> => T.IsSubnormal(a) ? T.CopySign(T.Zero, a) : a;

    private static Func<T, T, T>? BinaryOf<T>(PtxDecoder d) where T : unmanaged, IFloatingPointIeee754<T> => d.Name switch
    {
        "add" => static (a, b) => a + b,
        "sub" => static (a, b) => a - b,
        "mul" => static (a, b) => a * b,
        "div" => static (a, b) => a / b,
        "min" => d.Has("NaN") ? T.Min : T.MinNumber,
        "max" => d.Has("NaN") ? T.Max : T.MaxNumber,
        "copysign" => static (a, b) => T.CopySign(b, a),
        _ => null,
    };

    private static Func<Vector256<float>, Vector256<float>, Vector256<float>>? VectorOf(string name) => name switch
    {
        "add" => static (a, b) => a + b,
        "sub" => static (a, b) => a - b,
        "mul" => static (a, b) => a * b,
        _ => null,
    };

    private static Func<T, T>? UnaryOf<T>(string name) where T : unmanaged, IFloatingPointIeee754<T> => name switch
    {
        "abs" => T.Abs,
        "neg" => static a => -a,
        "rcp" => static a => T.One / a,
        "sqrt" => T.Sqrt,
        "rsqrt" => static a => T.One / T.Sqrt(a),
        "ex2" => T.Exp2,
        "lg2" => T.Log2,
        "sin" => T.Sin,
        "cos" => T.Cos,
        "tanh" => T.Tanh,
        _ => null,
    };

    private static Execute? Pairs(PtxDecoder d)
    {
        if (d.Name == "fma")
        {
            d.Allow("rn");
            d.Expect(4);
            return Lanes.Map<uint, uint, uint, uint>(d.Target(0, 32), d.Source(1, 32), d.Source(2, 32), d.Source(3, 32), static (a, b, c) =>
                Pair(Fma(Low(a), Low(b), Low(c)), Fma(High(a), High(b), High(c))));
        }

        if (BinaryOf<Half>(d) is { } binary && d.Name is not ("div" or "copysign"))
        {
            d.Allow("rn", "NaN");
            d.Expect(3);
            return Lanes.Map<uint, uint, uint>(d.Target(0, 32), d.Source(1, 32), d.Source(2, 32), (a, b) => Pair(binary(Low(a), Low(b)), binary(High(a), High(b))));
        }

        if (UnaryOf<Half>(d.Name) is { } unary && d.Name is "abs" or "neg" or "ex2" or "tanh")
        {
            d.Allow("approx");
            d.Expect(2);
            return Lanes.Map<uint, uint>(d.Target(0, 32), d.Source(1, 32), a => Pair(unary(Low(a)), unary(High(a))));
        }

        return null;
    }

    private static Half Fma(Half a, Half b, Half c) => (Half)(((double)a * (double)b) + (double)c);

    private static Half Low(uint pair) => BitConverter.UInt16BitsToHalf((ushort)pair);

    private static Half High(uint pair) => BitConverter.UInt16BitsToHalf((ushort)(pair >> 16));

    private static uint Pair(Half low, Half high) => BitConverter.HalfToUInt16Bits(low) | ((uint)BitConverter.HalfToUInt16Bits(high) << 16);
}
