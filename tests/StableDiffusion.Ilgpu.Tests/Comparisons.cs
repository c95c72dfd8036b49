using Xunit;

namespace StableDiffusion.Ilgpu.Tests;

/// <summary>Comparisons of one test: all are made and printed before the test fails.</summary>
internal sealed class Comparisons
{
    private readonly List<string> failures = [];
    private int count;

    public void Report(string what, double error, double limit)
    {
        count++;
        var line = ReferenceData.Line(what, error, limit);
        TestContext.Current.TestOutputHelper?.WriteLine(line);
        if (!(error <= limit))
        {
            failures.Add(line);
        }
    }

    /// <summary>The relative L2 error ||a - b|| / ||b||.</summary>
    public void Compare(string what, ReadOnlySpan<float> actual, ReadOnlySpan<float> expected, double limit) =>
        Report(what, RelativeL2(actual, expected), limit);

    /// <summary>Peak signal-to-noise ratio of pictures in 0 … 1, as the mean square error that it allows.</summary>
    public void ComparePictures(string what, ReadOnlySpan<float> actual, ReadOnlySpan<float> expected, double decibels)
    {
        Assert.Equal(expected.Length, actual.Length);
        var sum = 0.0;
        for (var i = 0; i < actual.Length; i++)
        {
            sum += Math.Pow((double)actual[i] - expected[i], 2);
        }

        var error = sum / actual.Length;
        Report($"{what}, PSNR {-10 * Math.Log10(error):0.0} dB of {decibels} dB, mean square", error, Math.Pow(10, -decibels / 10));
    }

    /// <summary>Fails if any comparison failed, or none was made.</summary>
    public void Verify()
    {
        Assert.NotEqual(0, count);
        Assert.True(failures.Count == 0, string.Join(Environment.NewLine, failures));
    }

    public static double RelativeL2(ReadOnlySpan<float> actual, ReadOnlySpan<float> expected)
    {
        Assert.Equal(expected.Length, actual.Length);
        var (difference, norm) = (0.0, 0.0);
        for (var i = 0; i < actual.Length; i++)
        {
            difference += Math.Pow((double)actual[i] - expected[i], 2);
            norm += Math.Pow(expected[i], 2);
        }

        return norm == 0 ? Math.Sqrt(difference) : Math.Sqrt(difference / norm);
    }
}
