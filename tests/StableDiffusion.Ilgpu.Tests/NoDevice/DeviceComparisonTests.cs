using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>How far two devices' numbers lie apart.</summary>
public sealed class DeviceComparisonTests
{
    [Fact]
    public void Differences_are_those_of_the_first_devices_numbers()
    {
        var first = new ComponentResults(new([3, 4], 1), [], new([0, 5], 2), new([2], 4), new([10, 200], 8));
        var second = new ComponentResults(new([3, 14], 2), [], new([0, 5], 1), new([1], 4), new([13, 196], 2));
        var rows = DeviceComparison.Rows(ComputeDevice.Processor, second, first);
        Assert.Equal(["text encoder", "UNet, one step", "decoder", "picture"], rows.Select(r => r.Component));
        Assert.Equal([2, 0, 0.5, null], rows.Select(r => r.RelativeL2));
        Assert.Equal([2, 1, 4, 2], rows.Select(r => r.Seconds));
        Assert.Equal([2, 0.5, 1, 0.25], rows.Select(r => r.Ratio));
        Assert.Equal([null, null, null, 4], rows.Select(r => r.MaxDifference));

        // The mean square of 3 and 4 is 12.5.
        Assert.Equal(10 * Math.Log10(255 * 255 / 12.5), rows[3].Psnr!.Value, 1e-9);
        Assert.Equal(double.PositiveInfinity, DeviceComparison.Rows(ComputeDevice.Processor, first, first)[3].Psnr);
    }
}
