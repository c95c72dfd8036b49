using StableDiffusion.Ilgpu.Devices;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests;

/// <summary>
/// The OpenCL devices of this machine, for tests of any kind. Each is opened once per process, when it is first asked for, and stays open
/// until <see cref="DeviceFixture"/> ends. A class that uses one belongs to the collection <see cref="SharedDevice"/>, because a device's
/// kernels may be launched by one thread at a time:
/// <code>
/// public static TheoryData&lt;string&gt; Devices => [.. OpenClDevice.Names];
///
/// [Theory, MemberData(nameof(Devices))]
/// public void Something(string name)
/// {
///     var device = OpenClDevice.Open(name); // skips, and says why, where there is none
/// </code>
/// </summary>
internal static class OpenClDevice
{
    /// <summary>The one theory row of a machine without a device.</summary>
    public const string None = "none";

    public static IReadOnlyList<ComputeDevice> All { get; } = [.. ComputeDevice.All.Where(d => d.Kind == DeviceKind.OpenCl)];

    /// <summary>For theories: what <see cref="Open"/> takes.</summary>
    public static IEnumerable<string> Names => All.Select(d => d.Id).DefaultIfEmpty(None);

    /// <summary>An open device. On a machine without one the test is skipped, with the reason in one line.</summary>
    public static DeviceSession Open(string name)
    {
        Assert.SkipWhen(name == None, OpenClDevices.Problem ?? "");
        return OpenDevices.Get(ComputeDevice.Find(name));
    }
}
