namespace StableDiffusion.Ilgpu.Kernels.Leaves.Simd;

/// <summary>
/// One register of floats. The routines of this folder are written once against it; the JIT compiles them for each width
/// as if they had been written for that width.
/// </summary>
internal interface ISimd<TSelf> where TSelf : struct, ISimd<TSelf>
{
    /// <summary>Floats in a register.</summary>
    static abstract int Count { get; }

    /// <summary>Rows that the matrix micro-kernel keeps in registers at once, beside two registers of columns: 8, 6 or 4.</summary>
    static abstract int TileRows { get; }

    static abstract TSelf Load(ref float source, nint offset = 0);
    static abstract void Store(TSelf value, ref float target, nint offset = 0);

    /// <summary>Widens fp16 bit patterns, exactly (infinities and NaNs become large finite numbers).</summary>
    static abstract TSelf LoadHalf(ref ushort source, nint offset = 0);

    /// <summary>Rounds to fp16, nearest even; beyond the range to infinity.</summary>
    static abstract void StoreHalf(TSelf value, ref ushort target, nint offset = 0);

    static abstract TSelf Create(float value);

    /// <summary>a * b + c, rounded once where the machine can.</summary>
    static abstract TSelf MultiplyAdd(TSelf a, TSelf b, TSelf c);

    /// <summary>
    /// sum += a * b, as <see cref="MultiplyAdd"/>. In a long chain of sums it spares the copies that the JIT makes when it takes the register of
    /// a factor for the result.
    /// </summary>
    static abstract void AddProduct(ref TSelf sum, TSelf a, TSelf b);

    static abstract TSelf operator +(TSelf a, TSelf b);
    static abstract TSelf operator -(TSelf a, TSelf b);
    static abstract TSelf operator *(TSelf a, TSelf b);
    static abstract TSelf operator /(TSelf a, TSelf b);
    static abstract TSelf Max(TSelf a, TSelf b);
    static abstract TSelf Min(TSelf a, TSelf b);
    static abstract TSelf Abs(TSelf a);

    /// <summary>yes where a is greater than b, no elsewhere.</summary>
    static abstract TSelf WhereGreater(TSelf a, TSelf b, TSelf yes, TSelf no);

    static abstract TSelf Round(TSelf a);

    /// <summary>a * 2^n for whole n such that the result is a normal number.</summary>
    static abstract TSelf Scale(TSelf a, TSelf n);

    /// <summary>0, 1, 2, …</summary>
    static abstract TSelf Indices { get; }

    static abstract bool AreEqual(TSelf a, TSelf b);

    static abstract float Sum(TSelf a);
}
