using StableDiffusion.Ilgpu.Kernels.Gemm;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>Divisions by a reciprocal.</summary>
public sealed class DivisorTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(9)]
    [InlineData(64)]
    [InlineData(96 * 96)]
    [InlineData(1 << 16)]
    [InlineData((1 << 16) + 1)]
    [InlineData(262_144)]
    [InlineData(int.MaxValue / 2)]
    [InlineData(int.MaxValue)]
    public void Quotients_are_those_of_a_division(int value)
    {
        var divisor = new Divisor(value);
        var random = new Random(value);
        foreach (var number in Enumerable.Range(0, 10_000).Select(_ => random.Next()).Concat(Near(value)))
        {
            Assert.Equal(number / value, divisor.Divide(number));
        }
    }

    /// <summary>Where quotients change, and the ends.</summary>
    private static IEnumerable<int> Near(int value) =>
        from multiple in (long[])[0, 1, 2, 3, 1000, int.MaxValue / value]
        from distance in (long[])[-1, 0, 1]
        let number = (multiple * value) + distance
        where number is >= 0 and <= int.MaxValue
        select (int)number;
}
