using ILGPU.Runtime.Cuda;
using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Devices;
using StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests;

/// <summary>An open CUDA device whose tensor cores the kernels can use.</summary>
/// <param name="Id">Its name for people.</param>
/// <param name="Session">The device.</param>
/// <param name="Driver">What ILGPU knows of it.</param>
/// <param name="Cores">Its own.</param>
internal sealed record TensorSession(string Id, DeviceSession Session, CudaDevice Driver, TensorCores Cores)
{
    /// <summary>Skips the test where there is none.</summary>
    public static IEnumerable<TensorSession> All()
    {
        var devices = ComputeDevice.All.Where(d => BackendProfile.LeafOf(d) == LeafKind.Tensor).ToArray();
        Assert.SkipWhen(devices.Length == 0, "no CUDA device with tensor cores");
        return devices.Select(d => new TensorSession(d.Id, OpenDevices.Get(d), (CudaDevice)d.Driver!, BackendProfile.CoresOf((CudaDevice)d.Driver!)!));
    }
}
