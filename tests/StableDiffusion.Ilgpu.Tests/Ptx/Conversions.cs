using System.Numerics;

namespace StableDiffusion.Ilgpu.Tests.Ptx;

/// <summary><c>cvt</c>, between all integers and floating-point types that are interpreted.</summary>
internal static unsafe class Conversions
{
    public static Execute? Decode(PtxDecoder d)
    {
        if (d.Name != "cvt")
        {
            return null;
        }

        if (d.Has("f16x2"))
        {
            d.Allow("rn", "f16x2");
            d.Expect(3);
            return Lanes.Map<float, float, uint>(d.Target(0, 32), d.Source(1, 32), d.Source(2, 32), static (high, low) =>
                BitConverter.HalfToUInt16Bits((Half)low) | ((uint)BitConverter.HalfToUInt16Bits((Half)high) << 16));
        }

        d.Expect(2);
        return d.Type switch
        {
            "s8" => FromInteger<sbyte>(d),
            "u8" => FromInteger<byte>(d),
            "s16" => FromInteger<short>(d),
            "u16" => FromInteger<ushort>(d),
            "s32" => FromInteger<int>(d),
            "u32" => FromInteger<uint>(d),
            "s64" => FromInteger<long>(d),
            "u64" => FromInteger<ulong>(d),
            "f16" => FromReal<Half>(d),
            "f32" => FromReal<float>(d),
            "f64" => FromReal<double>(d),
            _ => null,
        };
    }

    private static string TargetType(PtxDecoder d) => d.Statement.Parts[^2];

    private static Execute? FromInteger<T>(PtxDecoder d) where T : unmanaged, IBinaryInteger<T> => TargetType(d) switch
    {
        "s8" => Integer<T, sbyte>(d),
        "u8" => Integer<T, byte>(d),
        "s16" => Integer<T, short>(d),
        "u16" => Integer<T, ushort>(d),
        "s32" => Integer<T, int>(d),
        "u32" => Integer<T, uint>(d),
        "s64" => Integer<T, long>(d),
        "u64" => Integer<T, ulong>(d),
        "f16" => ToReal<T, Half>(d),
        "f32" => ToReal<T, float>(d),
        "f64" => ToReal<T, double>(d),
        _ => null,
    };

    private static Execute? FromReal<T>(PtxDecoder d) where T : unmanaged, IFloatingPointIeee754<T> => TargetType(d) switch
    {
        "s8" => Rounded<T, sbyte>(d),
        "u8" => Rounded<T, byte>(d),
        "s16" => Rounded<T, short>(d),
        "u16" => Rounded<T, ushort>(d),
        "s32" => Rounded<T, int>(d),
        "u32" => Rounded<T, uint>(d),
        "s64" => Rounded<T, long>(d),
        "u64" => Rounded<T, ulong>(d),
        "f16" => Real<T, Half>(d),
        "f32" => Real<T, float>(d),
        "f64" => Real<T, double>(d),
        _ => null,
    };

    private static Execute Integer<TFrom, TTo>(PtxDecoder d)
        where TFrom : unmanaged, IBinaryInteger<TFrom>
        where TTo : unmanaged, IBinaryInteger<TTo>
    {
        d.Allow("sat", TargetType(d));
        return d.Has("sat") ? Convert<TFrom, TTo>(d, static a => TTo.CreateSaturating(a)) : Convert<TFrom, TTo>(d, static a => TTo.CreateTruncating(a));
    }

    private static Execute ToReal<TFrom, TTo>(PtxDecoder d)
        where TFrom : unmanaged, IBinaryInteger<TFrom>
        where TTo : unmanaged, IFloatingPointIeee754<TTo>
    {
        d.Allow("rn", TargetType(d));
        return Convert<TFrom, TTo>(d, static a => TTo.CreateTruncating(a));
    }

    /// <summary>What does not fit becomes the nearest value that does; what is no number, 0.</summary>
    private static Execute Rounded<TFrom, TTo>(PtxDecoder d)
        where TFrom : unmanaged, IFloatingPointIeee754<TFrom>
        where TTo : unmanaged, IBinaryInteger<TTo>
    {
        d.Allow("rni", "rzi", "rmi", "rpi", "ftz", "sat", TargetType(d));
        var round = Rounding<TFrom>(d) ?? throw d.Fail("the rounding is missing");
        return Convert<TFrom, TTo>(d, a => TTo.CreateSaturating(round(a)));
    }

    private static Execute Real<TFrom, TTo>(PtxDecoder d)
        where TFrom : unmanaged, IFloatingPointIeee754<TFrom>
        where TTo : unmanaged, IFloatingPointIeee754<TTo>
    {
        d.Allow("rn", "rni", "rzi", "rmi", "rpi", "ftz", "sat", TargetType(d));
        var (round, saturate) = (Rounding<TFrom>(d), d.Has("sat"));
        if (round is null && !saturate)
        {
            return typeof(TFrom) == typeof(Half) && typeof(TTo) == typeof(float)
                ? Convert<ushort, float>(d, static a => Matrices.Singles[a]) : Convert<TFrom, TTo>(d, static a => TTo.CreateTruncating(a));
        }

        return Convert<TFrom, TTo>(d, a =>
        {
            var result = TTo.CreateTruncating(round is null ? a : round(a));
            return !saturate ? result : TTo.IsNaN(result) ? TTo.Zero : TTo.Clamp(result, TTo.Zero, TTo.One);
        });
    }

    private static Func<T, T>? Rounding<T>(PtxDecoder d) where T : unmanaged, IFloatingPointIeee754<T> =>
        d.Has("rni") ? static a => T.Round(a, MidpointRounding.ToEven) : d.Has("rzi") ? T.Truncate : d.Has("rmi") ? T.Floor : d.Has("rpi") ? T.Ceiling : null;

    private static Execute Convert<TFrom, TTo>(PtxDecoder d, Func<TFrom, TTo> f)
        where TFrom : unmanaged
        where TTo : unmanaged =>
        Lanes.Map(d.WideTarget(d.Statement.Operands[0], sizeof(TTo) * 8), d.Source(d.Statement.Operands[1], sizeof(TFrom) * 8, orWider: true), f);
}
